import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from tinyml.errors import RecipeError
from tinyml.graph.capture import capture
from tinyml.layers.mask import attach_mask
from tinyml.layers.quantizers import Granularity, attach_weight_quantizer, weight_quantizers
from tinyml.numerics.affine import signed_grid
from tinyml.passes.post_training.adaround import AdaRound, adaround
from tinyml.progress import Silent

SETTINGS = AdaRound(iterations=60, learning_rate=0.1)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, groups=8, padding=1),
        nn.ReLU6(),
        nn.Conv2d(8, 4, 3, bias=False),
        nn.Flatten(),
        nn.Linear(64, 5),
    ).eval()


def images(count: int = 96) -> Tensor:
    """Noise that differs little between neighbours, so that inputs of a layer depend on each other."""
    noise = torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    return nn.functional.avg_pool2d(noise, 3, stride=1, padding=1) * 3


def quantized(model: nn.Module, *, granularity: Granularity = "channel", symmetric: bool = True) -> nn.Module:
    """A copy with 3-bit weights."""
    model = copy.deepcopy(model)
    for layer in [each for each in model.modules() if isinstance(each, nn.Conv2d | nn.Linear)]:
        grid = signed_grid(3, symmetric=symmetric)
        attach_weight_quantizer(layer, grid, granularity=granularity, group_size=9, symmetric=symmetric)
    for quantizer, weight in weight_quantizers(model).values():
        quantizer.fit(weight)
    return model


def error(model: nn.Module, reference: nn.Module) -> float:
    with torch.no_grad():
        return float((model(images()) - reference(images())).square().mean())


def rounded(model: nn.Module, reference: nn.Module, seed: int = 0) -> tuple[list[str], dict[str, str]]:
    done, left = adaround(model, reference, images(), settings=SETTINGS, seed=seed, progress=Silent())
    return list(done), left


@pytest.mark.parametrize("graph", [True, False], ids=["graph", "modules"])
def test_the_network_comes_nearer_to_the_float_one(graph: bool) -> None:
    reference = capture(network()).module if graph else network()
    model = quantized(reference)
    nearest = error(model, reference)
    assert rounded(model, reference) == (["0", "2", "4", "6"], {})
    assert error(model, reference) < 0.7 * nearest


@pytest.mark.parametrize(
    ("granularity", "symmetric"),
    [("channel", True), ("tensor", True), ("group", True), ("channel", False)],
    ids=["channel", "tensor", "group", "asymmetric"],
)
def test_each_weight_is_rounded_up_or_down_on_its_grid(granularity: Granularity, symmetric: bool) -> None:
    """What the layer uses is at most a step from the float weight, but where that lies beyond the grid."""
    model = quantized(network(), granularity=granularity, symmetric=symmetric)
    before = {name: weight.detach().clone() for name, (_, weight) in weight_quantizers(model).items()}
    rounded(model, network())
    for name, (quantizer, weight) in weight_quantizers(model).items():
        used = model.get_submodule(name).weight.detach()
        step, fewest, most = quantizer.steps(before[name])
        float_steps = (before[name] / step).clamp(fewest, most)
        assert bool(((used / step - float_steps).abs() < 1 + 1e-4).all())
        assert torch.allclose(used, weight, atol=1e-6)
        assert quantizer.fault(used) == ""


def test_pruned_weights_stay_zero() -> None:
    reference = network()
    attach_mask(reference[0], structure="unstructured", ramp=0.0).aim(reference[0].weight, start=0, zeros=108)
    model = quantized(reference)
    assert "0" in rounded(model, reference)[0]
    masked = ~model.get_buffer("0.parametrizations.weight.0.mask")
    assert int(model.get_submodule("0").weight[masked].count_nonzero()) == 0


class Doubled(nn.Module):
    """A parametrization whose result is not what is written into the weight, as of a codebook."""

    def forward(self, weight: Tensor) -> Tensor:
        return 2 * weight


def test_a_layer_whose_weight_another_parametrization_computes_keeps_the_nearest_rounding() -> None:
    reference = network()
    parametrize.register_parametrization(reference[0], "weight", Doubled(), unsafe=True)
    model = quantized(reference)
    before = model.get_parameter("0.parametrizations.weight.original").clone()
    names, left = rounded(model, reference)
    assert "0" not in names
    assert list(left) == ["0"]
    assert "codebook" in left["0"]
    assert torch.equal(model.get_parameter("0.parametrizations.weight.original"), before)


def test_layers_that_share_a_weight_keep_the_nearest_rounding() -> None:
    reference = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.Linear(4, 4))
    reference[2].weight = reference[0].weight
    model = quantized(reference)
    done, left = adaround(model, reference, torch.ones(4, 4), settings=SETTINGS, seed=0, progress=Silent())
    assert (list(done), list(left)) == (["3"], ["0", "2"])


def test_the_float_network_is_untouched_and_the_same_seed_gives_the_same_weights() -> None:
    reference = network()
    models = [quantized(reference) for _ in range(2)]
    for model in models:
        rounded(model, reference, seed=3)
    assert all(torch.equal(a, b) for a, b in zip(models[0].parameters(), models[1].parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(reference.parameters(), network().parameters(), strict=True))


class Deciding(nn.Module):
    """Whether the second layer runs depends on what the first gives."""

    def __init__(self, threshold: float) -> None:
        super().__init__()
        self.first, self.second, self.threshold = nn.Linear(2, 2), nn.Linear(2, 2), threshold

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.first(x)
        return self.second(y) if float(y.sum()) > self.threshold else y


def test_a_layer_that_the_two_networks_call_differently_is_said() -> None:
    reference = Deciding(-1e9)
    model = quantized(reference)
    model.threshold = 1e9  # type: ignore[assignment]  # a plain attribute
    done, left = adaround(model, reference, torch.ones(4, 2), settings=SETTINGS, seed=0, progress=Silent())
    assert (list(done), list(left)) == (["first"], ["second"])


@pytest.mark.parametrize("settings", [{"iterations": 0}, {"images": 0}, {"learning_rate": 0.0}])
def test_settings_that_learn_nothing_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(RecipeError, match=next(iter(settings))):
        AdaRound(**settings)  # type: ignore[arg-type]  # handed through
