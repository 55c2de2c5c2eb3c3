from dataclasses import replace

import pytest
import torch
import user_models
from pydantic import JsonValue, TypeAdapter, ValidationError
from random_task import quantized, random_context, uncompressed
from torch import Tensor, nn

from tinyml.architecture import build
from tinyml.errors import DataError, RecipeError, TinymlError
from tinyml.layers.codebook import codebooks
from tinyml.passes.base import Compressed
from tinyml.passes.kmeans_quantization import KmeansQuantization, LayerBits
from tinyml.passes.weight_pruning import WeightPruning
from tinyml.recipe import load_recipe

IMAGE, SMALL = (3, 32, 32), (3, 8, 8)


def small() -> nn.Module:
    """Three layers of 108, 144 and 640 weights."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(64, 10)
    ).eval()


def apply(model: nn.Module | Compressed, *, shape: tuple[int, ...] = SMALL, history=None, **settings) -> Compressed:
    step = KmeansQuantization(**settings)
    context = replace(random_context(shape), record=[].append if history is None else history.append)
    before = model if isinstance(model, Compressed) else uncompressed(model, shape)
    step.requires(before, context)
    after = step.apply(before, context)
    step.ensures(before, after)
    return after


def masked(sparsity: float = 0.7, **settings) -> Compressed:
    step, context, before = (
        WeightPruning(sparsity=sparsity, **settings),
        random_context(SMALL),
        uncompressed(small(), SMALL),
    )
    return step.apply(before, context)


def weight(model: Compressed, name: str) -> Tensor:
    return model.module.get_submodule(name).weight.detach()


def values(model: Compressed) -> dict[str, int]:
    return {name: len(weight(model, name).unique()) for name, _ in codebooks(model.module)}


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 5, 6])
def test_every_layer_has_so_many_different_values(bits: int):
    assert values(apply(small(), bits=bits)) == {"0": 2**bits, "3": 2**bits, "5": 2**bits}


def test_every_weight_has_the_nearest_of_its_layers_values():
    model = small()
    after = apply(model, bits=3)
    for name in ("0", "3", "5"):
        earlier, now = model.get_submodule(name).weight.detach().flatten(), weight(after, name).flatten()
        distances = (earlier[:, None] - now.unique()).abs()
        assert torch.equal((now - earlier).abs(), distances.amin(dim=1))


def test_a_layer_with_bits_of_its_own_has_as_many_values():
    after = apply(small(), bits=2, layers={"*": LayerBits(bits=3), "5": LayerBits(bits=5)})
    assert values(after) == {"0": 8, "3": 8, "5": 32}


def test_the_first_and_the_last_layer_called_may_have_bits_of_their_own():
    model = user_models.mixed()
    model.head = model._modules.pop("head")
    model.twice = model._modules.pop("twice")  # stands last, and is not called last
    after = apply(model, shape=IMAGE, bits=1, outer_bits=3)
    assert {name for name, count in values(after).items() if count == 8} == {"stem", "head"}
    after = apply(small(), bits=2, outer_bits=3, layers={"5": LayerBits(bits=1)})
    assert values(after) == {"0": 8, "3": 4, "5": 2}


def test_runs_of_channels_have_values_of_their_own():
    after = apply(small(), bits=1, channels_per_codebook=2)
    assert {name: codebook.groups for name, codebook in codebooks(after.module)} == {"0": 2, "3": 2, "5": 5}
    assert [len(run.unique()) for run in weight(after, "5").split(2)] == [2] * 5


def test_fewer_different_weights_than_centroids_are_said(caplog: pytest.LogCaptureFixture):
    history: list[JsonValue] = []
    after = apply(small(), bits=8, history=history)
    assert values(after) == {"0": 108, "3": 144, "5": 256}
    assert history == [
        {"event": "codebooks", "layers": 3, "weights": 892},
        {"event": "fewer centroids", "as many as different weights": "0 108, 3 144"},
    ]
    assert "as many as there are different weights: 0 108, 3 144" in caplog.text
    assert torch.equal(weight(after, "0"), small()[0].weight)


def test_the_zeros_of_a_mask_stay_and_no_other_weight_becomes_zero():
    before = masked()
    after = apply(before, bits=2)
    assert list(values(after).values()) == [4, 4, 4]
    for name in ("0", "3", "5"):
        assert torch.equal(weight(after, name) == 0, weight(before, name) == 0)


def test_a_network_that_is_still_being_pruned_is_refused():
    with pytest.raises(RecipeError, match=r"'0' is still being pruned \(0 weights are masked instead of \d+; its ramp"):
        apply(masked(schedule="cubic"))


def test_importance_by_fisher_moves_the_centroids_and_the_same_seed_gives_the_same():
    plain, first, second = (apply(small(), bits=2, importance=by, images=16) for by in ("none", "fisher", "fisher"))
    assert not torch.equal(weight(plain, "5"), weight(first, "5"))
    assert torch.equal(weight(first, "5"), weight(second, "5"))


def test_importance_by_fisher_works_behind_a_mask():
    after = apply(masked(), bits=2, importance="fisher", images=16)
    assert list(values(after).values()) == [4, 4, 4]


def test_importance_by_fisher_needs_images():
    context = replace(random_context(SMALL), task=None)
    with pytest.raises(DataError, match="needs images: give --data"):
        KmeansQuantization(importance="fisher").requires(uncompressed(small(), SMALL), context)


def test_patterns_choose_the_layers_and_the_others_are_listed():
    after = apply(small(), include=("[03]",), exclude=("0",))
    assert list(values(after)) == ["3"]
    assert {item.module: item.reason for item in after.left_alone} == {
        "0": "in the recipe's exclude",
        "5": "not in the recipe's include",
    }


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"bits": 0}, "bits: 0: input should be greater than or equal to 1"),
        ({"bits": 9}, "bits: 9: input should be less than or equal to 8"),
        ({"start": "sobol"}, "start: 'sobol': input should be"),
        ({"channels_per_codebook": 0}, "channels_per_codebook: 0: input should be greater than or equal to 1"),
        ({"training": "soft"}, "soft is for 1 to 3 bits, and bits is 4"),
        ({"training": "soft", "bits": 2, "layers": {"*": LayerBits(bits=5)}}, "soft is for 1 to 3 bits, and bits is 5"),
        ({"training": "soft", "bits": 2, "outer_bits": 8}, "soft is for 1 to 3 bits, and bits is 8"),
        (
            {"training": "gradient", "reassign_every": 2},
            "gradient trains no weights that could move; leave reassign_every",
        ),
        (
            {"training": "soft", "bits": 2, "reassign_every": 2},
            "soft moves weights at every step; leave reassign_every",
        ),
    ],
    ids=lambda value: "" if isinstance(value, str) else " ".join(value),
)
def test_settings_that_are_not_allowed_are_refused(settings, said: str):
    with pytest.raises(RecipeError, match=said):
        KmeansQuantization(**settings)


def test_bits_of_a_layer_are_checked():
    with pytest.raises(ValidationError, match="less than or equal to 8"):
        TypeAdapter(KmeansQuantization).validate_python({"layers": {"conv1": {"bits": 9}}})


def test_a_pattern_that_matches_nothing_is_refused_with_the_nearest_layer():
    with pytest.raises(RecipeError, match=r"pattern 'haed' matches no layer\. Did you mean 'head'"):
        apply(user_models.mixed(), shape=IMAGE, layers={"haed": LayerBits(bits=2)})


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_weights_that_are_not_finite_are_refused(value: float):
    model = small()
    with torch.no_grad():
        model[3].weight[0, 0, 0, 0] = value
    with pytest.raises(RecipeError, match="the weights of '3' hold NaN or Inf; check the checkpoint"):
        apply(model)


@pytest.mark.parametrize(
    "codes", [lambda: quantized(small(), SMALL), lambda: apply(small())], ids=["linear", "k-means"]
)
def test_weights_that_are_codes_already_are_refused(codes):
    with pytest.raises(RecipeError, match="the weights are codes already; start from the float checkpoint"):
        apply(codes())


def test_a_model_without_a_layer_to_quantize_is_refused():
    with pytest.raises(RecipeError, match=r"there is no layer to quantize \(the model has none\)"):
        apply(nn.Sequential(nn.ReLU()))


def test_the_callers_model_is_untouched():
    model = small()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    apply(model)
    assert list(model.state_dict()) == list(before)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_weights_that_are_not_at_their_nearest_centroid_are_told():
    step, before, context = KmeansQuantization(bits=2), uncompressed(small(), SMALL), random_context(SMALL)
    after = step.apply(before, context)
    indices = dict(codebooks(after.module))["5"].indices
    indices.copy_(indices.flip(0))
    with pytest.raises(TinymlError, match=r"5: \d+ weights are not at their nearest centroid"):
        step.ensures(before, after)


def test_more_values_than_promised_are_told():
    before, context = uncompressed(small(), SMALL), random_context(SMALL)
    after = KmeansQuantization(bits=3).apply(before, context)
    with pytest.raises(TinymlError, match="'0' has 8 values; 4 are promised"):
        KmeansQuantization(bits=2).ensures(before, after)


def test_it_is_rebuilt_from_its_architecture_and_weights():
    after = apply(user_models.mixed(), shape=IMAGE, bits=3, channels_per_codebook=4, training="gradient")
    rebuilt = build(type(after.architecture).model_validate_json(after.architecture.model_dump_json()))
    rebuilt.load_state_dict(after.module.state_dict(), strict=True)
    for name, codebook in codebooks(rebuilt):
        assert torch.equal(rebuilt.get_submodule(name).weight, weight(after, name))
        assert codebook.training_mode == "gradient"


def test_deep_compression_prunes_and_trains_before_it_clusters():
    recipe = load_recipe("deep-compression")
    assert [entry.name for entry in recipe.passes] == [
        "weight_pruning",
        "fine_tuning",
        "kmeans_quantization",
        "fine_tuning",
    ]


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_a_shipped_recipe_has_the_bits_of_its_name(bits: int):
    step = load_recipe(f"kmeans{bits}").passes[0].settings
    assert isinstance(step, KmeansQuantization)
    assert step.bits == bits
