"""The rest of a network for one layer gives what the whole network gives, whatever its architecture."""

from collections.abc import Callable

import pytest
import torch
import user_models
from exit_networks import with_exits
from torch import Tensor, nn

from tinyml.analysis.sensitivity.changes import CHANGES
from tinyml.analysis.sensitivity.suffix import Forward, SplitForward, WholeForward, forward_of
from tinyml.analysis.sensitivity.units import Patterns, Unit, changed

SHAPES = {user_models.mlp: (3, 32, 32), user_models.signal: (1, 128)}


def units_of(model: nn.Module, shape: tuple[int, ...] = (3, 32, 32)) -> tuple[Unit, ...]:
    return CHANGES["weight_pruning"].units(model, shape, Patterns()).units


def walked(forward: Forward, model: nn.Module, inputs: Tensor, units: tuple[Unit, ...]) -> dict[str, list[Tensor]]:
    """The outputs of each unit at two levels, the second twice."""
    outputs = {}
    for visit in forward.visits(inputs.clone(), units):
        runs = outputs[visit.unit.name] = []
        for level in (0.9, 0.5, 0.5):
            with changed(model, visit.unit.values(level)):
                runs.append(visit.outputs().clone())
    return outputs


@pytest.mark.parametrize(
    "factory",
    [
        pytest.param(user_models.mixed, id="residual, grouped, called twice"),
        pytest.param(user_models.mlp, id="an MLP"),
        pytest.param(user_models.signal, id="one-dimensional"),
        pytest.param(user_models.densenet_like, id="concatenations"),
        pytest.param(user_models.mobilenetv3_like, id="squeeze-excite"),
        pytest.param(user_models.shufflenet_like, id="channel shuffle"),
        pytest.param(user_models.unet_like, id="long skips"),
        pytest.param(user_models.small_vit, id="a transformer"),
        pytest.param(user_models.data_dependent, id="an opaque part"),
        pytest.param(user_models.encoder, id="torch's own transformer layer"),
    ],
)
@torch.no_grad()
def test_outputs_are_those_of_the_whole_network_to_the_bit(factory: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    model, inputs = factory().eval(), torch.randn(3, *SHAPES.get(factory, (3, 32, 32)))
    units = units_of(model, tuple(inputs.shape[1:]))
    split = walked(forward_of(model, inputs[:2]), model, inputs, units)
    whole = walked(WholeForward(model), model, inputs, units)
    assert split.keys() == whole.keys()
    assert all(torch.equal(a, b) for name in whole for a, b in zip(split[name], whole[name], strict=True))
    assert any(not torch.equal(runs[0], runs[1]) for runs in whole.values())


class InPlace(nn.Module):
    """Changes its input and a value that a later layer reads again, in place."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor, scale: float = 2.0) -> Tensor:
        view = x.view(-1, 2, 2)
        y = self.first(x)
        x.mul_(scale)
        y.relu_()
        return self.second(y) + y.add_(1) + view.flatten(1)


@torch.no_grad()
def test_what_is_changed_in_place_does_not_spoil_the_next_run() -> None:
    torch.manual_seed(0)
    model, inputs = InPlace().eval(), torch.randn(3, 4)
    units = units_of(model, (4,))
    forward = forward_of(model, inputs[:2])
    assert isinstance(forward, SplitForward)
    split, whole = (walked(each, model, inputs, units) for each in (forward, WholeForward(model)))
    assert all(torch.equal(a, b) for name in whole for a, b in zip(split[name], whole[name], strict=True))


class Counter(nn.Module):
    """Counts how often each of its parts runs."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = nn.Sequential(*(nn.Linear(4, 4) for _ in range(3)))
        self.calls = [0, 0, 0]
        for index, part in enumerate(self.parts):
            part.register_forward_hook(lambda *_, index=index: self.count(index))

    def count(self, index: int) -> None:
        self.calls[index] += 1

    def forward(self, x: Tensor) -> Tensor:
        return self.parts(x)


@torch.no_grad()
def test_what_lies_before_the_changed_layer_runs_once() -> None:
    model = Counter().eval()
    inputs = torch.randn(3, 4)
    units, forward = units_of(model, (4,)), forward_of(model, inputs[:2])
    model.calls = [0, 0, 0]
    walked(forward, model, inputs, units)
    # three runs for each layer from itself on; and once each on the way to the last
    assert model.calls == [3 + 1, 3 + 3 + 1, 3 + 3 + 3]


class Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.only = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.only(x) if bool((x > 0).any()) else x


def test_a_network_without_a_graph_is_run_as_a_whole() -> None:
    assert isinstance(forward_of(Branching().eval(), torch.randn(2, 4)), WholeForward)


def test_a_layer_that_is_never_called_is_known() -> None:
    model = InPlace().eval()
    model.unused = nn.Linear(4, 4)
    forward = forward_of(model, torch.randn(2, 4))
    assert [unit.name for unit in units_of(model, (4,)) if not forward.reads(unit)] == ["unused"]


@torch.no_grad()
def test_of_a_network_with_exits_the_outputs_are_its_own_answer() -> None:
    model, inputs = with_exits(user_models.inception_like(), (3, 32, 32)), torch.randn(3, 3, 32, 32)
    units = units_of(model)
    split = walked(forward_of(model, inputs[:2]), model, inputs, units)
    assert split["stem.0"][0].shape == (3, 10)
    assert torch.equal(split["exit_heads.exit_0.linear"][0], model(inputs)[-1])
