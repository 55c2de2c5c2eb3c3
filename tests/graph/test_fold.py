import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from random_task import trained
from torch import Tensor, fx, nn
from torch.nn.utils import parametrize

from tinyml.graph.capture import capture, propagate_shapes
from tinyml.graph.fold import fold, foldable_pairs
from tinyml.layers.channel_scale import scale_channels


def traced(model: nn.Module) -> fx.GraphModule:
    graph_module = capture(trained(model)).graph_module
    assert graph_module is not None
    return graph_module


def pairs_of(model: nn.Module) -> list[tuple[str, str]]:
    return foldable_pairs(traced(model))


LAYERS = {
    "Conv1d": (nn.Conv1d(4, 6, 3, bias=False), nn.BatchNorm1d(6), (4, 9)),
    "Conv2d": (nn.Conv2d(4, 6, 3, bias=False), nn.BatchNorm2d(6), (4, 7, 7)),
    "Conv2d with bias": (nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6), (4, 7, 7)),
    "Conv2d, norm without factors": (nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6, affine=False), (4, 7, 7)),
    "grouped Conv2d": (nn.Conv2d(4, 6, 3, groups=2), nn.BatchNorm2d(6), (4, 7, 7)),
    "depthwise Conv2d": (nn.Conv2d(4, 8, 3, groups=4, bias=False), nn.BatchNorm2d(8), (4, 7, 7)),
    "Conv3d": (nn.Conv3d(2, 3, 2), nn.BatchNorm3d(3), (2, 4, 4, 4)),
    "Linear": (nn.Linear(5, 6), nn.BatchNorm1d(6), (5,)),
    "Linear without bias": (nn.Linear(5, 6, bias=False), nn.BatchNorm1d(6), (5,)),
}


@pytest.mark.parametrize(("layer", "norm", "shape"), LAYERS.values(), ids=LAYERS)
def test_a_folded_layer_computes_what_the_pair_computed(layer: nn.Module, norm: nn.Module, shape: tuple[int, ...]):
    graph_module = traced(nn.Sequential(layer, norm, nn.ReLU()))
    x = torch.randn(4, *shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = graph_module(x)
        propagate_shapes(graph_module, x)
        fold(graph_module, foldable_pairs(graph_module), scale_behind=scale_channels)
        found = graph_module(x)
    assert [type(module) for module in graph_module.children()] == [type(layer), nn.ReLU]
    assert torch.allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_one_weight_folds_by_the_formula():
    norm = nn.BatchNorm1d(1, eps=1.0)
    graph_module = traced(nn.Sequential(nn.Linear(1, 1), norm))
    with torch.no_grad():
        graph_module.get_submodule("0").weight.fill_(2.0)
        graph_module.get_submodule("0").bias.fill_(7.0)
        for tensor, value in ((norm.running_mean, 3.0), (norm.running_var, 3.0), (norm.weight, 5.0), (norm.bias, 11.0)):
            tensor.fill_(value)
    fold(graph_module, [("0", "1")], scale_behind=scale_channels)
    layer = graph_module.get_submodule("0")
    assert (layer.weight.item(), layer.bias.item()) == (2 * 5 / 2, (7 - 3) * 5 / 2 + 11)  # sqrt(variance + eps) is 2


@given(variance=st.floats(0, 1e4), gamma=st.floats(-10, 10), mean=st.floats(-100, 100), beta=st.floats(-10, 10))
def test_folding_is_exact_for_any_statistics(variance: float, gamma: float, mean: float, beta: float):
    norm = nn.BatchNorm1d(1)
    graph_module = traced(nn.Sequential(nn.Linear(1, 1), norm))
    values = zip(
        (norm.running_mean, norm.running_var, norm.weight, norm.bias), (mean, variance, gamma, beta), strict=True
    )
    with torch.no_grad():
        for tensor, value in values:
            tensor.fill_(value)
        x = torch.tensor([[-1.0], [0.0], [2.0]])
        expected = graph_module(x)
        fold(graph_module, [("0", "1")], scale_behind=scale_channels)
        # float32 holds the mean to 2^-24 of itself, and the factor multiplies what was lost
        factor = abs(gamma) / (variance + 1e-5) ** 0.5
        slack = 2**-21 * (factor * (abs(mean) + 10) + abs(beta) + 1)
        assert torch.allclose(graph_module(x), expected, rtol=1e-5, atol=slack)


class Wired(nn.Module):
    """conv, a second layer and a norm, wired by a function of the module and x."""

    def __init__(self, wiring, *, track: bool = True) -> None:
        super().__init__()
        self.conv, self.other = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)
        self.norm, self.second_norm = nn.BatchNorm2d(3, track_running_stats=track), nn.BatchNorm2d(3)
        self.wiring = wiring

    def forward(self, x: Tensor) -> Tensor:
        return self.wiring(self, x)


def added(m: Wired, x: Tensor) -> Tensor:
    y = m.conv(x)
    return m.norm(y) + y


WIRINGS = {
    "the value between is used elsewhere": added,
    "a function stands between": lambda m, x: m.norm(m.conv(x) * 2),
    "the norm serves two layers": lambda m, x: m.norm(m.conv(x)) + m.norm(m.other(x)),
    "the layer feeds two norms": lambda m, x: m.norm(m.conv(x)) + m.second_norm(m.conv(x)),
    "only one of two calls is normalised": lambda m, x: m.norm(m.conv(x)) + m.conv(x),
    "the norm comes first": lambda m, x: m.conv(m.norm(x)),
}


@pytest.mark.parametrize("wiring", WIRINGS.values(), ids=WIRINGS)
def test_a_pair_is_kept_where_folding_would_change_something_else(wiring):
    assert pairs_of(Wired(wiring)) == []


def test_a_norm_without_running_statistics_is_kept():
    assert pairs_of(Wired(lambda m, x: m.norm(m.conv(x)), track=False)) == []


def test_a_layer_whose_weight_another_layer_shares_is_kept():
    model = Wired(lambda m, x: m.other(m.norm(m.conv(x))))
    model.other.weight = model.conv.weight
    assert pairs_of(model) == []


@pytest.mark.parametrize(
    "computed",
    [nn.utils.parametrizations.weight_norm, nn.utils.parametrizations.spectral_norm],
    ids=["weight", "spectral"],
)
def test_a_layer_whose_weight_is_computed_is_kept(computed):
    assert pairs_of(nn.Sequential(computed(nn.Conv2d(3, 3, 1)), nn.BatchNorm2d(3))) == []


def test_a_norm_over_another_axis_than_the_linear_layers_outputs_is_kept():
    assert pairs_of(nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(4))) == []  # (N, 4, 6): the norm counts tokens


@pytest.mark.parametrize(
    "wiring",
    [lambda m, x: m.norm(m.conv(m.norm(m.conv(x)))), lambda m, x: m.norm(input=m.conv(input=x))],
    ids=["both called twice", "inputs by keyword"],
)
def test_a_pair_that_belongs_together_folds_however_it_is_called(wiring):
    graph_module = traced(Wired(wiring))
    x = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = graph_module(x)
        fold(graph_module, foldable_pairs(graph_module), scale_behind=scale_channels)
        assert torch.allclose(graph_module(x), expected, rtol=1e-5, atol=1e-4)
    assert "norm" not in dict(graph_module.named_modules())


@pytest.mark.parametrize(("shape", "folds"), [((6, 5), False), ((5,), True)], ids=["over tokens", "over features"])
def test_a_norm_behind_a_linear_layer_folds_over_features_only(shape: tuple[int, ...], folds: bool):
    graph_module = traced(nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6)))
    propagate_shapes(graph_module, torch.zeros(2, *shape))
    assert bool(foldable_pairs(graph_module)) is folds


class Halved(nn.Module):
    """Commutes with a factor for each output channel."""

    commutes_with_scaling = True

    def forward(self, weight: Tensor) -> Tensor:
        return weight / 2


class Shifted(nn.Module):
    """Does not say whether it does."""

    def forward(self, weight: Tensor) -> Tensor:
        return weight + 1


class Signs(nn.Module):
    """Says that it does not."""

    commutes_with_scaling = False

    def forward(self, weight: Tensor) -> Tensor:
        return weight.sign()


@pytest.mark.parametrize(
    ("chain", "folds"),
    [
        ([Halved()], True),
        ([Halved(), Halved()], True),
        ([Halved(), Signs()], True),
        ([Shifted()], False),
        ([Halved(), Shifted()], False),
    ],
    ids=["one that commutes", "two", "one of two does not", "one does not say", "one of two does not say"],
)
def test_behind_parametrizations_a_norm_folds_where_all_of_them_say_what_they_do(chain: list[nn.Module], folds: bool):
    model = nn.Sequential(nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6))
    for each in chain:
        parametrize.register_parametrization(model[0], "weight", each)
    graph_module, x = traced(model), torch.randn(2, 4, 5, 5, generator=torch.Generator().manual_seed(0))
    assert foldable_pairs(graph_module) == ([("0", "1")] if folds else [])
    with torch.no_grad():
        expected = graph_module(x)
        fold(graph_module, foldable_pairs(graph_module), scale_behind=scale_channels)
        assert torch.allclose(graph_module(x), expected, rtol=1e-5, atol=1e-5)


def test_behind_values_that_must_stay_the_factor_of_the_norm_is_a_parametrization_of_its_own():
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6))
    parametrize.register_parametrization(model[0], "weight", Signs())
    graph_module = traced(model)
    layer, x = graph_module.get_submodule("0"), torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    original = layer.parametrizations.weight.original.clone()
    propagate_shapes(graph_module, x)
    fold(graph_module, foldable_pairs(graph_module), scale_behind=scale_channels)
    assert torch.equal(layer.parametrizations.weight.original, original)
    assert torch.equal(layer.weight, original.sign() * layer.parametrizations.weight[-1].factor[:, None])
