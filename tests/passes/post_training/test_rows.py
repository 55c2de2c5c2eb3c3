import pytest
import torch
from torch import nn

from tinyml.passes.post_training.rows import Layer, draw_positions, input_rows, matrix, output_rows

LAYERS = {
    "strided convolution": (nn.Conv2d(4, 6, 3, stride=2, padding=1), (2, 4, 9, 7)),
    "dilated, one side longer": (nn.Conv2d(4, 6, (3, 1), dilation=2), (2, 4, 9, 7)),
    "grouped, reflected padding": (nn.Conv2d(4, 6, 3, groups=2, padding=1, padding_mode="reflect"), (2, 4, 5, 5)),
    "depthwise, same padding": (nn.Conv2d(4, 4, 3, groups=4, dilation=2, padding="same"), (2, 4, 7, 6)),
    "one image without a batch": (nn.Conv2d(4, 6, 3), (4, 5, 6)),
    "signals": (nn.Conv1d(4, 6, 3, stride=2, padding=2), (3, 4, 11)),
    "rows": (nn.Linear(4, 6), (5, 4)),
    "tokens": (nn.Linear(4, 6, bias=False), (2, 3, 4)),
}


@pytest.mark.parametrize("case", LAYERS)
@pytest.mark.parametrize("most", [7, 10_000], ids=["some positions", "all positions"])
def test_the_product_of_the_matrices_is_the_layers_output(case: str, most: int) -> None:
    """16 to 24 products of numbers near 1, summed in another order: below 1e-5."""
    layer, shape = LAYERS[case]
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    output = layer(x).detach()
    positions = draw_positions(layer, output, most, torch.Generator().manual_seed(1))
    product = input_rows(layer, x, output, positions) @ matrix(layer, layer.weight.detach()).mT
    assert torch.allclose(product + bias(layer), output_rows(layer, output, positions), atol=1e-5)


def bias(layer: Layer) -> torch.Tensor:
    groups = getattr(layer, "groups", 1)
    return torch.zeros(1) if layer.bias is None else layer.bias.detach().reshape(groups, 1, -1)


def test_all_positions_are_taken_once_where_they_are_no_more_than_asked_for() -> None:
    layer = nn.Conv2d(1, 1, 1)
    positions = draw_positions(layer, torch.zeros(2, 1, 3, 3), 18, torch.Generator())
    assert positions.tolist() == list(range(18))


def test_no_more_positions_are_drawn_than_asked_for() -> None:
    layer = nn.Conv2d(1, 1, 1)
    positions = draw_positions(layer, torch.zeros(2, 1, 3, 3), 17, torch.Generator().manual_seed(0))
    assert len(positions) == 17
    assert int(positions.max()) < 18
