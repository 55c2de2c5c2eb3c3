import inspect
import math

import pytest
import torch
import user_models
from torch import Tensor, nn

from tinyml.graph.capture import capture, modules_called

FACTORIES = {
    name: factory
    for name, factory in inspect.getmembers(user_models, inspect.isfunction)
    if factory.__module__ == "user_models"
}
SHAPES = {"signal": (1, 128)}


class Undecided(nn.Module):
    """Branches on data."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) if x.sum() > 0 else -self.conv(x)


class Around(nn.Module):
    """A module that branches on data, around another that does."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Undecided()

    def forward(self, x: Tensor) -> Tensor:
        y = self.inner(x)
        return y if y.sum() > 0 else -y


@pytest.mark.parametrize("name", FACTORIES)
def test_the_traced_model_computes_what_the_model_computes(name: str):
    model = FACTORIES[name]().eval()
    x = torch.randn(2, *SHAPES.get(name, (3, 32, 32)), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected, found = model(x), capture(model).module(x)
    assert torch.equal(found, expected)


@pytest.mark.parametrize("name", FACTORIES)
def test_names_and_tensors_of_parameters_stay(name: str):
    model = FACTORIES[name]()
    before = dict(model.named_parameters())
    after = dict(capture(model).module.named_parameters())
    assert sorted(after) == sorted(before)
    assert all(after[key] is before[key] for key in before)


def test_a_module_that_branches_on_data_is_opaque_and_the_rest_is_traced():
    captured = capture(nn.Sequential(nn.Conv2d(3, 3, 1), Undecided()))
    assert captured.graph_module is not None
    assert [item.module for item in captured.opaque] == ["1"]
    assert "control flow" in captured.opaque[0].reason


def test_of_nested_opaque_modules_only_the_outer_one_is_listed():
    captured = capture(nn.Sequential(Around(), nn.ReLU()))
    assert [item.module for item in captured.opaque] == ["0"]


def test_a_root_that_does_not_trace_comes_back_itself_with_the_reason():
    model = Undecided()
    captured = capture(model)
    assert captured.module is model
    assert captured.graph_module is None
    assert [item.module for item in captured.opaque] == [""]


def test_torchs_own_composite_layers_are_listed_as_one_piece():
    captured = capture(user_models.encoder())
    assert [(item.module, item.reason) for item in captured.opaque] == [
        ("encoder", "TransformerEncoderLayer runs in one piece")
    ]


def test_capturing_again_changes_nothing_and_still_lists_what_is_opaque():
    once = capture(nn.Sequential(nn.Conv2d(3, 3, 1), Undecided()))
    again = capture(once.module)
    assert again.module is once.module
    assert [item.module for item in again.opaque] == ["1"]


@pytest.mark.parametrize(
    "parametrize", [nn.utils.parametrizations.weight_norm, nn.utils.parametrizations.spectral_norm]
)
def test_a_parametrized_layer_stays_one_node(parametrize):
    captured = capture(nn.Sequential(parametrize(nn.Conv2d(3, 4, 1))))
    assert captured.graph_module is not None
    assert list(modules_called(captured.graph_module)) == ["0"]
    assert captured.opaque == ()


def test_a_users_subclass_of_a_layer_is_traced_through():
    class Standardised(nn.Conv2d):
        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.conv2d(x, self.weight - self.weight.mean(), self.bias)

    captured = capture(nn.Sequential(Standardised(3, 4, 1)))
    assert captured.graph_module is not None
    assert modules_called(captured.graph_module) == {}


def test_a_module_called_twice_has_two_nodes_and_one_set_of_parameters():
    captured = capture(user_models.mixed())
    assert captured.graph_module is not None
    assert len(modules_called(captured.graph_module)["twice"]) == 2


def test_python_mathematics_on_sizes_is_traced():
    class Scaled(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x / math.sqrt(x.shape[1])

    captured = capture(nn.Sequential(Scaled()))
    assert captured.opaque == ()
    assert torch.equal(captured.module(torch.ones(1, 4)), torch.full((1, 4), 0.5))


def test_dropout_is_captured_as_in_evaluation():
    x = torch.ones(1, 1000)

    class Dropping(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.dropout(x, 0.5, self.training)

    assert torch.equal(capture(nn.Sequential(Dropping()).train()).module(x), x)
