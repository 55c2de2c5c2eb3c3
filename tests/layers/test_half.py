import torch
from torch import Tensor, nn

from tinyml.layers.half import HalfPrecisionNetwork


def test_a_half_precision_network_takes_and_gives_float32():
    network = HalfPrecisionNetwork(nn.Linear(3, 2))
    y = network(torch.rand(4, 3))
    assert y.dtype is torch.float32
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float16}


def test_the_arithmetic_is_in_half_precision():
    network = HalfPrecisionNetwork(nn.Identity())
    assert network(torch.tensor([1.0 + 2**-12])).item() == 1.0  # float16 has 10 bits of fraction
    assert torch.isinf(network(torch.tensor([1e6]))).all()


def test_every_floating_output_is_cast_and_others_are_not():
    class Several(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor], Tensor]:
            return x, [x], x.argmax()

    first, (second,), third = HalfPrecisionNetwork(Several())(torch.rand(3))
    assert [tensor.dtype for tensor in (first, second, third)] == [torch.float32, torch.float32, torch.int64]
