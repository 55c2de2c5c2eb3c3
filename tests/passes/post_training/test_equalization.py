import copy

import pytest
import torch
from torch import Tensor, fx, nn

from tinyml.graph.capture import capture, propagate_shapes
from tinyml.layers.mask import attach_mask
from tinyml.passes.post_training.equalization import equalize


def captured(model: nn.Module, *shape: int) -> fx.GraphModule:
    graph_module = capture(copy.deepcopy(model).eval()).graph_module
    assert graph_module is not None
    propagate_shapes(graph_module, torch.zeros(1, *shape))
    return graph_module


def test_both_layers_take_the_geometric_mean_of_their_ranges() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1))
    model[0].weight.data, model[0].bias.data = torch.tensor([[8.0, -1.0], [1.0, 1.0]]), torch.tensor([4.0, 1.0])
    model[2].weight.data = torch.tensor([[2.0, -9.0]])
    after = captured(model, 2)
    equalize(after)
    # s = (sqrt(8 / 2), sqrt(1 / 9)) = (2, 1/3)
    assert torch.allclose(after.get_parameter("0.weight"), torch.tensor([[4.0, -0.5], [3.0, 3.0]]))
    assert torch.allclose(after.get_parameter("0.bias"), torch.tensor([2.0, 3.0]))
    assert torch.allclose(after.get_parameter("2.weight"), torch.tensor([[4.0, -3.0]]))


NETWORKS = {
    "flattened convolution": (
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 5)),
        (3, 8, 8),
    ),
    "depthwise triple": (
        nn.Sequential(
            nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=8, bias=False), nn.LeakyReLU(), nn.Conv2d(8, 5, 1)
        ),
        (3, 8, 8),
    ),
    "grouped convolutions": (
        nn.Sequential(nn.Conv2d(4, 8, 3, groups=2), nn.ReLU(), nn.Conv2d(8, 6, 3, groups=2, padding=1)),
        (4, 8, 8),
    ),
    "tokens": (nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)), (5, 6)),
}  # fmt: skip


def uneven(model: nn.Module) -> nn.Module:
    """The model with output channels whose weights lie a factor of up to 100 apart."""
    generator = torch.Generator().manual_seed(0)
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.normal_(layer.weight, generator=generator)
            layer.weight.data *= 100 ** torch.rand(
                len(layer.weight), *[1] * (layer.weight.ndim - 1), generator=generator
            )
    return model


@pytest.mark.parametrize("case", NETWORKS)
def test_the_network_computes_what_it_did(case: str) -> None:
    """Each weight is divided and multiplied by a factor: two roundings of 2^-24 each in every product."""
    model, shape = uneven(NETWORKS[case][0]), NETWORKS[case][1]
    after, x = captured(model, *shape), torch.randn(4, *shape, generator=torch.Generator().manual_seed(1))
    assert equalize(after)
    expected = model(x).detach()
    assert float((after(x).detach() - expected).abs().max() / expected.abs().max()) < 1e-5


def ranges(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    return first.abs().flatten(1).amax(dim=1), second.abs().transpose(0, 1).flatten(1).amax(dim=1)


def test_a_depthwise_triple_ends_with_equal_ranges_at_both_of_its_seams() -> None:
    after = captured(uneven(NETWORKS["depthwise triple"][0]), 3, 8, 8)
    equalize(after)
    first, middle, last = (after.get_parameter(f"{name}.weight") for name in (0, 2, 4))
    assert torch.allclose(first.abs().flatten(1).amax(dim=1), middle.abs().flatten(1).amax(dim=1), rtol=0.01)
    assert torch.allclose(*ranges(middle, last), rtol=0.01)


def test_a_channel_without_weights_keeps_its_range() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1))
    model[0].weight.data = torch.tensor([[0.0, 0.0], [1.0, 4.0]])
    model[2].weight.data = torch.tensor([[3.0, 1.0]])
    after = captured(model, 2)
    equalize(after)
    assert after.get_parameter("0.weight").tolist() == [[0.0, 0.0], [0.5, 2.0]]
    assert after.get_parameter("2.weight").tolist() == [[3.0, 2.0]]


def test_pruned_weights_stay_zero_behind_their_mask() -> None:
    model = uneven(nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)))
    attach_mask(model[0], structure="unstructured", ramp=0.0).aim(model[0].weight, start=0, zeros=24)
    after = captured(model, 6)
    x = torch.randn(4, 6, generator=torch.Generator().manual_seed(1))
    equalize(after)
    assert int((after.get_submodule("0").weight == 0).sum()) == 24
    assert torch.allclose(after(x), model(x), rtol=1e-4, atol=1e-3)


def test_a_network_without_pairs_is_left_as_it_was() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.GELU(), nn.Linear(2, 1))
    after = captured(model, 2)
    assert equalize(after) == []
    assert torch.equal(after.get_parameter("0.weight"), model[0].weight)
