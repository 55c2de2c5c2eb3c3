import pytest
import torch
import user_models
from torch import Tensor, fx, nn

from tinyml.graph.capture import capture
from tinyml.graph.node_macs import ancestors, macs_by_output, node_macs
from tinyml.measure.macs_torch import macs_of_module


class TwoExits(nn.Module):
    """8 to 4 to 2 features; each exit has a head."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(8, 4), nn.Linear(4, 2)
        self.early, self.late = nn.Linear(4, 3), nn.Linear(2, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.first(x)
        return self.early(features), self.late(self.second(features))


def graph_of(module: nn.Module) -> fx.GraphModule:
    found = capture(module).graph_module
    assert found is not None
    return found


def test_every_node_has_its_own_macs():
    found = node_macs(graph_of(TwoExits()), (8,))
    assert {node.name: count for node, count in found.items() if count} == {
        "first": 32,
        "early": 12,
        "second": 8,
        "late": 6,
    }


def test_an_exit_costs_all_that_it_and_the_earlier_ones_need():
    graph_module = graph_of(TwoExits())
    assert macs_by_output(graph_module, node_macs(graph_module, (8,))) == (32 + 12, 32 + 12 + 8 + 6)


@pytest.mark.parametrize("factory", ["mixed", "mobilenetv3_like", "small_vit", "unet_like"])
def test_the_nodes_add_up_to_the_count_of_the_whole(factory):
    model = getattr(user_models, factory)().eval()
    whole = macs_of_module(model, (3, 32, 32)).value
    assert sum(node_macs(graph_of(model), (3, 32, 32)).values()) == whole


def test_a_fused_transformer_layer_is_counted():
    """Eight projections' worth a token (4 of attention, 2 x 2 of the feed-forward) of 32 x 32, and attention itself."""
    found = node_macs(graph_of(user_models.encoder()), (3, 32, 32))
    assert {node.name: count for node, count in found.items()}["encoder"] >= 16 * 8 * 32 * 32


def test_ancestors_are_all_that_a_value_is_computed_from():
    graph_module = graph_of(TwoExits())
    nodes = {node.name: node for node in graph_module.graph.nodes}
    assert {node.name for node in ancestors(nodes["early"])} == {"x", "first", "early"}


def test_the_count_needs_no_particular_state():
    graph_module = graph_of(TwoExits())
    before = torch.backends.mha.get_fastpath_enabled()
    node_macs(graph_module, (8,))
    assert torch.backends.mha.get_fastpath_enabled() == before
