import pytest
import torch
from torch import Tensor, nn

from tinyml.graph.capture import capture
from tinyml.layers.quantizers import attach_standalone
from tinyml.numerics.affine import unsigned_grid
from tinyml.passes.post_training.layer_calls import calls_in_order, image_batches, watch


class Twice(nn.Module):
    """Calls its layers in another order than it names them, the last one twice and one never."""

    def __init__(self) -> None:
        super().__init__()
        self.idle, self.twice, self.first = (nn.Linear(2, 2, bias=False) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.twice(self.twice(input=self.first(x)))
        return y


@pytest.mark.parametrize("graph", [True, False], ids=["graph", "modules"])
def test_layers_are_counted_in_the_order_of_their_calls(graph: bool) -> None:
    model = capture(Twice()).module if graph else Twice()
    names = [name for name, _ in model.named_children()]
    assert list(calls_in_order(model, names, torch.zeros(1, 2)).items()) == [("first", 1), ("twice", 2)]


def test_inputs_and_outputs_of_all_calls_are_seen_however_they_are_given() -> None:
    model, seen = Twice(), list[tuple[list[float], list[float]]]()
    model.first.weight.data = torch.eye(2)
    model.twice.weight.data = 2 * torch.eye(2)
    watch(model, [torch.ones(1, 2)], {"twice": 2}, lambda _, x, y: seen.append((x[0].tolist(), y[0].tolist())))
    assert seen == [([1.0, 1.0], [2.0, 2.0]), ([2.0, 2.0], [4.0, 4.0])]


@pytest.mark.parametrize("graph", [True, False], ids=["graph", "modules"])
def test_a_forward_ends_at_the_layer(graph: bool, capsys: pytest.CaptureFixture[str]) -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)).eval()
    reached = list[Tensor]()
    model[1].register_forward_pre_hook(lambda _, inputs: reached.append(inputs[0]))
    watched = capture(model).module if graph else model
    watch(watched, [torch.zeros(1, 2)] * 3, {"0": 1}, lambda *_: None)
    assert reached == []
    assert capsys.readouterr().err == ""
    watched(torch.zeros(1, 2))
    assert len(reached) == 1


def test_the_output_is_seen_before_a_quantizer_behind_the_layer() -> None:
    layer, seen = nn.Conv2d(1, 1, 1, bias=False), list[float]()
    layer.weight.data.fill_(0.3)
    attach_standalone(layer, unsigned_grid(8))
    watch(nn.Sequential(layer), [torch.ones(1, 1, 1, 1)], {"0": 1}, lambda _, x, y: seen.append(y.item()))
    assert seen == [pytest.approx(0.3)]  # a quantizer with scale 1 would make it 0


def test_batches_are_of_almost_one_size_and_lose_nothing() -> None:
    inputs = torch.arange(130.0).reshape(130, 1)
    batches = image_batches(inputs)
    assert [len(batch) for batch in batches] == [44, 43, 43]
    assert torch.equal(torch.cat(batches), inputs)
