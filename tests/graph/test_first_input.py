import pytest
import torch

from tinyml.graph.first_input import first_input

X = torch.zeros(1)


@pytest.mark.parametrize(
    ("inputs", "named"),
    [((X, torch.ones(1)), {}), ((), {"input": X}), ((), {"output_size": [4], "input": X})],
    ids=["by position", "by keyword", "behind another keyword"],
)
def test_the_first_tensor_is_the_input(inputs: tuple[torch.Tensor, ...], named: dict[str, object]) -> None:
    assert first_input(inputs, named) is X
