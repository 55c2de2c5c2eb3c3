import pytest
import torch
import torch.nn.functional as F
import user_models
from torch import Tensor, nn

from tinyml.graph.capture import capture, propagate_shapes
from tinyml.graph.channel_axis import channels_last


class Plain(nn.Module):
    """No layer says anything about the value between two reshapes."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, x: Tensor) -> Tensor:
        return torch.reshape(F.gelu(torch.reshape(x, (-1, *self.shape))), (-1, 24))


@pytest.mark.parametrize(
    ("module", "shape", "node", "expected"),
    [
        pytest.param(user_models.small_vit(), (3, 32, 32), "add_1", True, id="tokens of a transformer"),
        pytest.param(
            user_models.small_vit(), (3, 32, 32), "transpose", True, id="tokens, the next layer beyond an add"
        ),
        pytest.param(user_models.small_vit(), (3, 32, 32), "patches", False, id="patches of a convolution"),
        pytest.param(user_models.signal(), (1, 128), "features_3", False, id="a signal (C, L)"),
        pytest.param(user_models.mlp(), (3, 32, 32), "_3", False, id="features (D,)"),
        pytest.param(Plain(4, 6), (24,), "gelu", True, id="two dimensions and nobody says"),
        pytest.param(Plain(2, 3, 4), (24,), "gelu", False, id="three dimensions and nobody says"),
    ],
)
def test_the_nearest_layer_says_where_the_channels_are(module, shape, node, expected):
    graph_module = capture(module).graph_module
    propagate_shapes(graph_module, torch.zeros(2, *shape))
    nodes = {each.name: each for each in graph_module.graph.nodes}
    assert channels_last(nodes[node], graph_module) is expected
