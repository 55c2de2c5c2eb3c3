import numpy as np
import pytest
from onnx import helper

from tinyml.export.rewrites.pools import name_global_pools


def mean_over(hand_made, axes: list[int], *, keepdims: int = 1, shape=("batch", 3, 4, 4)):
    node = helper.make_node("ReduceMean", ["input", "axes"], ["output"], keepdims=keepdims)
    return hand_made([node], {"axes": np.array(axes, np.int64)}, shape=shape)


@pytest.mark.parametrize("axes", [[2, 3], [-1, -2], [3, 2]], ids=str)
def test_the_mean_over_both_spatial_axes_is_a_global_pool(hand_made, axes: list[int]):
    made = mean_over(hand_made, axes)
    (before,) = made.run()
    name_global_pools(made.graph)
    assert made.operators == ["GlobalAveragePool"]
    # Sixteen numbers of about 1, added in another order: 15 roundings of 2^-24.
    assert np.allclose(made.run()[0], before, rtol=0, atol=16 * 2**-24 * 4)


@pytest.mark.parametrize(
    ("axes", "options"),
    [
        ([1, 2], {}),
        ([3], {}),
        ([1, 2, 3], {}),
        ([2, 3], {"keepdims": 0}),
        ([2, 3], {"shape": ("batch", 3, 4, 4, 2)}),
        ([1, 0], {"shape": (3, 4)}),
    ],
    ids=["channels and rows", "one axis", "all axes", "dimensions dropped", "five dimensions", "two dimensions"],
)
def test_any_other_mean_stays(hand_made, axes: list[int], options: dict):
    made = mean_over(hand_made, axes, **options)
    assert made.outputs_kept_by(name_global_pools)
    assert made.operators == ["ReduceMean"]
