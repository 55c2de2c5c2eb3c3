"""What each pass does to a layer at a level, against numbers that a reader can check."""

import pytest
import torch
from torch import nn

from tinyml.analysis.sensitivity.bits import Budget, ByteBudget, DropBudget
from tinyml.analysis.sensitivity.changes import CHANGES, find_change
from tinyml.analysis.sensitivity.units import Patterns, Unit, changed
from tinyml.architecture import QuantizeWeights
from tinyml.errors import RecipeError, UsageError
from tinyml.layers.quantizers import weight_quantizers


def only_unit(pass_name: str, layer: nn.Module, **patterns: tuple[str, ...]) -> Unit:
    (unit,) = CHANGES[pass_name].units(nn.Sequential(layer), (4,), Patterns(**patterns)).units
    return unit


def linear(rows: list[list[float]]) -> nn.Linear:
    layer = nn.Linear(len(rows[0]), len(rows), bias=False)
    layer.weight.data = torch.tensor(rows, dtype=torch.float32)
    return layer


def test_pruning_zeroes_the_smallest_weights() -> None:
    unit = only_unit("weight_pruning", linear([[1, -4, 2, 3], [8, 7, -6, 5]]))
    assert unit.values(0.5)["0.weight"].tolist() == [[0, 0, 0, 0], [8, 7, -6, 5]]
    assert (unit.name, unit.size) == ("0", 8)


def test_quantization_is_symmetric_with_a_scale_per_output_channel() -> None:
    unit = only_unit("linear_quantization", linear([[3, -1.4, 0.6, 0], [30, -14, 6, 0]]))
    assert unit.values(3)["0.weight"].tolist() == [[3, -1, 1, 0], [30, -10, 10, 0]]  # codes -3..3
    step = 47 / 64 * 3  # codes -1..1: least squares is the mean of 3 and 1.4, 2.2, and this the nearest 64th of 3
    assert unit.values(2)["0.weight"].tolist() == [[step, -step, 0, 0], [10 * step, -10 * step, 0, 0]]


@pytest.mark.parametrize("bits", [8, 7, 4, 2])
def test_quantization_is_what_the_pass_attaches_and_its_file_stores(bits: int) -> None:
    layer, largest = nn.Conv2d(3, 5, 3), 2 ** (bits - 1) - 1
    unit = only_unit("linear_quantization", layer)
    model = QuantizeWeights(modules=("0",), q_min=-largest, q_max=largest).apply(nn.Sequential(layer))
    ((quantizer, weight),) = weight_quantizers(model).values()
    quantizer.fit(weight)
    quantizer.freeze(weight)
    assert torch.equal(unit.values(bits)["0.weight"], layer.weight)
    assert unit.stored is not None
    assert torch.equal(unit.stored(bits), quantizer.codes)


def test_k_means_gives_a_layer_two_to_the_bits_values_from_one_bit_on() -> None:
    unit = only_unit("kmeans_quantization", linear([[1, 1.2, 7, 7.4], [0.8, 1, 7, 7]]))
    torch.testing.assert_close(unit.values(1)["0.weight"], torch.tensor([[1, 1, 7.1, 7.1], [1, 1, 7.1, 7.1]]))
    assert len(unit.values(2)["0.weight"].unique()) == 4
    assert CHANGES["kmeans_quantization"].checked(()) == (8, 7, 6, 5, 4, 3, 2, 1)


def test_transposed_convolutions_stay_in_float_and_are_said_so() -> None:
    model = nn.Sequential(nn.ConvTranspose2d(3, 4, 3), nn.Conv2d(4, 4, 3))
    found = CHANGES["linear_quantization"].units(model, (3, 8, 8), Patterns())
    assert [unit.name for unit in found.units] == ["1"]
    assert [(item.module, item.reason) for item in found.left_alone] == [("0", "ConvTranspose2d stays in float")]


def test_every_bit_is_as_before_when_the_context_ends() -> None:
    model = nn.Sequential(linear([[1, -4, 2, 3]]))
    before = model[0].weight.clone()
    with torch.no_grad(), pytest.raises(KeyError), changed(model, {"0.weight": torch.full((1, 4), torch.nan)}):
        raise KeyError
    assert torch.equal(model[0].weight, before)


def test_patterns_that_match_nothing_are_refused_with_the_nearest_name() -> None:
    with pytest.raises(RecipeError, match=r"pattern 'frist' matches no layer. Did you mean 'first'"):
        CHANGES["weight_pruning"].units(nn.ModuleDict({"first": nn.Linear(2, 2)}), (2,), Patterns(include=("frist",)))


@pytest.mark.parametrize(
    ("pass_name", "levels", "message"),
    [
        pytest.param("weight_pruning", (0.5, 1.0), "1 is not above 0 and below 1", id="everything pruned"),
        pytest.param("weight_pruning", (0.0,), "0 is not above 0", id="nothing pruned"),
        pytest.param("weight_pruning", (float("nan"),), "nan is not", id="NaN"),
        pytest.param("linear_quantization", (1, 9, 4.5), "1, 9, 4.5 are not whole numbers from 2 to 8", id="bits"),
        pytest.param("kmeans_quantization", (0, 9), "0, 9 are not whole numbers from 1 to 8", id="bits of an index"),
        pytest.param("weight_pruning", (0.5, 0.5), "0.5 stands there twice", id="twice the same"),
    ],
)
def test_levels_that_mean_nothing_are_refused(pass_name: str, levels: tuple[float, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        find_change(pass_name).checked(levels)


def test_no_levels_are_those_of_the_pass() -> None:
    assert find_change("weight_pruning").checked(()) == (0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


@pytest.mark.parametrize(
    ("name", "message"),
    [("weight_prunin", "Did you mean 'weight_pruning'"), ("fine_tuning", "changes no layer on its own")],
)
def test_a_pass_that_cannot_be_scanned_is_refused(name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        find_change(name)


@pytest.mark.parametrize(
    ("pass_name", "asked", "levels", "expected"),
    [
        pytest.param("weight_pruning", None, (0.5, 0.9), 0.7, id="the pass's own"),
        pytest.param("weight_pruning", None, (0.5,), 0.5, id="no more than the levels reach"),
        pytest.param("channel_pruning", 0.4, (0.5,), 0.4, id="as asked"),
        pytest.param("linear_quantization", None, (8, 2), None, id="bits"),
    ],
)
def test_an_overall_sparsity_is_there_unless_levels_are_bits(
    pass_name: str, asked: float | None, levels: tuple[float, ...], expected: float | None
) -> None:
    assert find_change(pass_name).overall(asked, levels) == expected


@pytest.mark.parametrize(
    ("pass_name", "asked", "message"),
    [
        ("weight_pruning", 0.95, "0.95 is more than every layer at the highest level, 0.9"),
        ("linear_quantization", 0.5, "--sparsity is for weight_pruning and channel_pruning: leave it out"),
    ],
)
def test_an_overall_sparsity_that_cannot_be_is_refused(pass_name: str, asked: float, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        find_change(pass_name).overall(asked, (0.5, 0.9))


@pytest.mark.parametrize(
    ("most_bytes", "points", "budget"),
    [(None, None, None), (1000, None, ByteBudget(most_bytes=1000)), (None, 1.5, DropBudget(most_drop=0.015))],
)
def test_a_budget_of_bits_is_of_bytes_or_of_points(
    most_bytes: int | None, points: float | None, budget: Budget | None
) -> None:
    assert find_change("linear_quantization").budget(most_bytes, points) == budget


@pytest.mark.parametrize(
    ("pass_name", "most_bytes", "points", "message"),
    [
        ("kmeans_quantization", 1000, 1.0, "--budget-bytes and --budget-drop-points: give one"),
        (
            "weight_pruning",
            1000,
            None,
            "--budget-bytes is for linear_quantization and kmeans_quantization: .*--sparsity",
        ),
        ("channel_pruning", None, 1.0, "--budget-drop-points is for linear_quantization and kmeans_quantization"),
    ],
)
def test_a_budget_that_cannot_be_is_refused(
    pass_name: str, most_bytes: int | None, points: float | None, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        find_change(pass_name).budget(most_bytes, points)
