"""Bits for a budget, against all combinations and by hand."""

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyml.analysis.sensitivity.bits import BitChoice, ByteBudget, DropBudget, choose_bits
from tinyml.analysis.sensitivity.curves import FileBytes, LayerCurve, Sensitivity
from tinyml.errors import GateMissed

LEVELS = (8, 4, 2)
Layer = tuple[tuple[int, int, int], tuple[float, float, float]]
"""Bytes and divergences of a layer at LEVELS."""


def scanned(*layers: Layer, constants: tuple[int, int, int] = (0, 0, 0), points: float = 0.1) -> Sensitivity:
    """Layers "a", "b", ... in a file of 100 bytes beside them; each level reads a constant of its own.

    A unit of divergence costs so much of the score.
    """
    curves = tuple(
        LayerCurve(
            name=name,
            size=10,
            levels=LEVELS,
            scores=tuple(0.9 - points * each for each in divergences),
            divergences=divergences,
            stored_bytes=sizes,
            constants=((0,), (1,), (2,)),
        )
        for name, (sizes, divergences) in zip("abcd", layers, strict=False)
    )
    return Sensitivity(
        model="net",
        pass_name="linear_quantization",
        quantity="bits",
        score="accuracy",
        unchanged=0.9,
        n=100,
        data="noise",
        curves=curves,
        file=FileBytes(target="cpu", rest=100, constants=constants),
    )


TWO = scanned(((80, 40, 20), (0, 1, 4)), ((80, 40, 20), (0, 0.5, 1)))


@pytest.mark.parametrize(
    ("most", "levels"),
    [(260, (8, 8)), (259, (8, 4)), (219, (8, 2)), (199, (4, 4)), (179, (4, 2)), (140, (2, 2))],
)
def test_the_bits_of_the_least_divergence_within_the_bytes(most: int, levels: tuple[int, int]) -> None:
    choice = choose_bits(TWO, ByteBudget(most_bytes=most))
    assert tuple(choice.levels.values()) == levels
    assert choice.predicted.size_bytes <= most


@pytest.mark.parametrize(("points", "levels"), [(0, (8, 8)), (5, (8, 4)), (10, (8, 2)), (20, (4, 2)), (100, (4, 2))])
def test_the_fewest_bytes_within_the_points(points: float, levels: tuple[int, int]) -> None:
    choice = choose_bits(TWO, DropBudget(most_drop=points / 100))
    assert tuple(choice.levels.values()) == levels
    assert 100 * choice.predicted.drop <= points + 1e-9


def test_a_divergence_that_no_layer_reached_alone_is_told() -> None:
    predicted = choose_bits(TWO, ByteBudget(most_bytes=140)).predicted
    assert (predicted.divergence, predicted.drop, predicted.beyond) == (5, pytest.approx(0.4), True)


def test_the_same_bits_for_all_are_predicted_beside_them() -> None:
    choice = choose_bits(TWO, ByteBudget(most_bytes=185))
    assert [(bits, each.size_bytes, each.divergence) for bits, each in choice.uniform.items()] == [
        (8, 260, 0),
        (4, 180, 1.5),
        (2, 140, 5),
    ]
    assert choice.beside == 4
    assert choice.uniform[4].drop == pytest.approx(0.15)


def test_constants_that_a_level_shares_are_counted_once() -> None:
    layer = ((80, 40, 20), (0, 1, 4))
    scan = scanned(layer, layer, constants=(0, 7, 9))
    choice = choose_bits(scan, ByteBudget(most_bytes=100 + 40 + 40 + 7))
    assert (tuple(choice.levels.values()), choice.predicted.size_bytes) == ((4, 4), 187)
    assert choose_bits(scan, ByteBudget(most_bytes=186)).predicted.size_bytes == 100 + 40 + 20 + 7 + 9
    assert choose_bits(scan, ByteBudget(most_bytes=149)).predicted.size_bytes == 100 + 20 + 20 + 9


def test_a_score_that_rises_is_noise_and_no_gain() -> None:
    choice = choose_bits(scanned(((80, 40, 20), (0, 1, 2)), points=-0.1), ByteBudget(most_bytes=120))
    assert choice.predicted.drop == 0


def test_the_noise_of_single_points_is_averaged() -> None:
    scan = scanned(((80, 40, 20), (0, 1, 2)), ((80, 40, 20), (0, 1.5, 3)))
    noisy = [0.9, 0.7, 0.8]  # at divergences 0, 1, 2; the other layer loses 0.15 at 1.5 and 0.3 at 3
    curve = replace(scan.curves[0], scores=tuple(noisy))
    choice = choose_bits(replace(scan, curves=(curve, scan.curves[1])), ByteBudget(most_bytes=100 + 20 + 80))
    assert choice.predicted.drop == pytest.approx((0.2 + 0.15 + 0.1) / 3)  # the points from 1 to 2 fall: their mean


SIZES = st.tuples(*[st.integers(0, 30)] * 3)
DIVERGENCES = st.tuples(*[st.integers(0, 8).map(float)] * 3)


@given(st.lists(st.tuples(SIZES, DIVERGENCES), min_size=1, max_size=4), st.integers(100, 220))
def test_no_combination_within_the_bytes_diverges_less(layers: list[Layer], most: int) -> None:
    every = [
        (
            100 + sum(s[i] for (s, _), i in zip(layers, each, strict=True)),
            sum(d[i] for (_, d), i in zip(layers, each, strict=True)),
        )
        for each in product(range(3), repeat=len(layers))
    ]
    allowed = [divergence for size, divergence in every if size <= most]
    if allowed:
        assert choose_bits(scanned(*layers), ByteBudget(most_bytes=most)).predicted.divergence == min(allowed)
    else:
        with pytest.raises(GateMissed):
            choose_bits(scanned(*layers), ByteBudget(most_bytes=most))


def test_too_few_bytes_are_refused_with_the_smallest_file() -> None:
    with pytest.raises(
        GateMissed, match=r"--budget-bytes 139 cannot be met.* has 140 bytes and loses at least 40.00 points by"
    ):
        choose_bits(TWO, ByteBudget(most_bytes=139))


def test_what_a_single_layer_reached_is_told_without_at_least() -> None:
    with pytest.raises(GateMissed, match=r"has 120 bytes and loses 20.00 points by prediction"):
        choose_bits(scanned(((80, 40, 20), (0, 1, 2))), ByteBudget(most_bytes=100))


@pytest.mark.parametrize(
    ("pass_name", "advice"),
    [
        pytest.param("linear_quantization", "; allow more or prune first$", id="2 is the fewest of codes"),
        pytest.param(
            "kmeans_quantization", r"; allow more, scan fewer bits \(--levels\), or prune first$", id="1 is left"
        ),
    ],
)
def test_fewer_bits_are_advised_where_the_pass_has_them(pass_name: str, advice: str) -> None:
    with pytest.raises(GateMissed, match=advice):
        choose_bits(replace(TWO, pass_name=pass_name), ByteBudget(most_bytes=139))


@pytest.mark.parametrize(
    ("levels", "advice"),
    [((8, 4, 2), "; allow more$"), ((7, 4, 2), r"; allow more or scan more bits \(--levels\)$")],
)
def test_more_bits_are_advised_where_8_were_not_scanned(levels: tuple[int, ...], advice: str) -> None:
    scan = scanned(((80, 40, 20), (0.2, 1, 4)))
    scan = replace(scan, curves=(replace(scan.curves[0], levels=levels),))
    with pytest.raises(GateMissed, match=advice):
        choose_bits(scan, DropBudget(most_drop=0.01))


class Files:
    """Makes files that are larger than the scan counts, by the bits of their layers; notes what was made."""

    def __init__(self, more: dict[tuple[int, ...], int]) -> None:
        self.more, self.made = more, list[tuple[int, ...]]()

    def __call__(self, choice: BitChoice) -> int:
        bits = tuple(map(int, choice.levels.values()))
        self.made.append(bits)
        return choice.predicted.size_bytes + self.more.get(bits, 0)


def test_the_bytes_of_the_file_itself_are_told() -> None:
    files = Files({(4, 2): -3})
    for budget in (ByteBudget(most_bytes=160), DropBudget(most_drop=0.2)):
        assert choose_bits(TWO, budget, files).predicted.size_bytes == 157
    assert files.made == [(4, 2), (4, 2)]


def test_a_file_over_the_budget_gives_way_to_a_smaller_one() -> None:
    files = Files({(8, 4): 5, (8, 2): 1})  # 225 bytes instead of 220, 201 instead of 200
    choice = choose_bits(TWO, ByteBudget(most_bytes=220), files)
    assert (files.made, choice.predicted.size_bytes) == ([(8, 4), (8, 2)], 201)


def test_a_file_that_is_always_larger_is_made_a_few_times_and_meets_the_budget() -> None:
    files = Files(dict.fromkeys(product(LEVELS, repeat=2), 25))
    choice = choose_bits(TWO, ByteBudget(most_bytes=200), files)
    assert (files.made, choice.predicted.size_bytes) == ([(8, 2), (4, 2)], 185)  # by 25 too large, then 160 + 25


def test_a_budget_that_only_the_smallest_file_itself_meets_is_met() -> None:
    choice = choose_bits(TWO, ByteBudget(most_bytes=130), Files({(2, 2): -10}))
    assert (set(choice.levels.values()), choice.predicted.size_bytes) == ({2}, 130)
    assert choice.uniform[2] == choice.predicted  # it is the same file


def test_a_smallest_file_that_is_larger_than_counted_is_refused_with_its_own_bytes() -> None:
    with pytest.raises(GateMissed, match=r"--budget-bytes 140 cannot be met.* has 147 bytes"):
        choose_bits(TWO, ByteBudget(most_bytes=140), Files({(2, 2): 7}))


def test_too_few_points_are_refused_with_the_smallest_drop() -> None:
    scan = scanned(((80, 40, 20), (0.2, 1, 4)))
    with pytest.raises(GateMissed, match=r"--budget-drop-points 1 cannot be met.* 2.00 points are lost.* 180 bytes"):
        choose_bits(scan, DropBudget(most_drop=0.01))
