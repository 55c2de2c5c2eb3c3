import pytest
import torch

from tinyml.layers.operators import as_stored, dequantize_weight, quantize_dequantize


@pytest.mark.parametrize(("dtype", "expected"), [(torch.uint8, [0.0, 1.0, 127.5]), (torch.int8, [-64.5, 1.0, 63.0])])
def test_quantizing_uses_the_limits_of_the_zero_points_type(dtype: torch.dtype, expected: list[float]):
    x, zero_point = torch.tensor([-1e3, 1.1, 1e3]), torch.tensor(0 if dtype is torch.uint8 else 1, dtype=dtype)
    assert quantize_dequantize(x, torch.tensor(0.5), zero_point).tolist() == expected


@pytest.mark.parametrize("axis", [0, 1])
def test_a_weight_is_its_codes_times_the_scale_of_its_channel(axis: int):
    codes, scale = torch.tensor([[1, -2], [3, 127]], dtype=torch.int8), torch.tensor([0.5, 2.0])
    expected = [[0.5, -1.0], [6.0, 254.0]] if axis == 0 else [[0.5, -4.0], [1.5, 254.0]]
    assert dequantize_weight(codes, scale, axis).tolist() == expected


def test_the_operators_tell_shapes_and_types_without_computing():
    torch.library.opcheck(
        quantize_dequantize, (torch.rand(2, 3), torch.tensor(0.5), torch.tensor(3, dtype=torch.uint8))
    )
    torch.library.opcheck(dequantize_weight, (torch.ones(2, 3, dtype=torch.int8), torch.tensor([0.5, 1.0]), 0))
    torch.library.opcheck(as_stored, (torch.rand(2, 3),))


def test_a_weight_that_keeps_its_values_is_a_copy_of_itself():
    weight = torch.rand(2, 3)
    assert torch.equal(as_stored(weight), weight)
    assert as_stored(weight).data_ptr() != weight.data_ptr()


def test_a_grid_may_have_fewer_codes_than_the_type():
    x, zero_point = torch.tensor([-1e3, 1.1, 1e3]), torch.tensor(2, dtype=torch.uint8)
    assert quantize_dequantize(x, torch.tensor(0.5), zero_point, 0, 15).tolist() == [-1.0, 1.0, 6.5]


def test_a_zero_point_is_subtracted_from_the_codes_of_its_channel():
    codes, scale = torch.tensor([[1, -2], [3, 127]], dtype=torch.int8), torch.tensor([0.5, 2.0])
    zero_point = torch.tensor([1, -1], dtype=torch.int8)
    assert dequantize_weight(codes, scale, 0, zero_point).tolist() == [[0.0, -1.5], [8.0, 256.0]]
    torch.library.opcheck(dequantize_weight, (codes, scale, 0, zero_point))
