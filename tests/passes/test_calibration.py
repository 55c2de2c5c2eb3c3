import math

import pytest
import torch
from torch import Tensor, nn

from tinyml.errors import DataError
from tinyml.layers.quantizers import ActivationQuantizer
from tinyml.numerics.affine import signed_grid, unsigned_grid
from tinyml.passes.calibration import BATCH, calibrate
from tinyml.progress import Silent


class Two(nn.Module):
    """A quantizer on the input, and one on its logarithm."""

    def __init__(self, grid=None) -> None:
        super().__init__()
        grid = grid or unsigned_grid(8)
        self.before, self.behind, self.idle = (ActivationQuantizer(grid) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        return self.behind(self.before(x).log())


def run(
    model: nn.Module, inputs: Tensor, *, method="minmax", symmetric: bool = False, seed: int = 0
) -> tuple[str, ...]:
    return calibrate(model, inputs, method=method, symmetric=symmetric, seed=seed, progress=Silent())


def test_minmax_covers_the_extremes_of_all_batches():
    inputs = torch.ones(3 * BATCH, 2)
    inputs[-1, 0], inputs[0, 1] = 5.1, 0.5
    model = Two()
    run(model, inputs)
    assert model.before.scale.item() == pytest.approx(5.1 / 255)
    assert model.behind.scale.item() == pytest.approx((math.log(5.1) - math.log(0.5)) / 255)
    assert model.behind.zero_point.item() == round(math.log(2) / model.behind.scale.item())


def test_a_symmetric_grid_has_zero_point_zero_and_covers_the_larger_end():
    model = Two(signed_grid(8, symmetric=False))
    run(model, torch.tensor([[0.01], [2.0]]), symmetric=True)
    assert model.behind.zero_point.item() == 0
    assert model.behind.scale.item() == pytest.approx(math.log(100) / 127)


def test_values_are_observed_unrounded():
    """A quantizer with scale 1 before the logarithm would turn 0.3 into 0, and its logarithm into -inf."""
    model = Two()
    run(model, torch.tensor([[0.3], [1.0]]))
    assert model.behind.scale.item() == pytest.approx(-math.log(0.3) / 255)


def test_a_quantizer_that_is_never_called_is_named():
    assert run(Two(), torch.ones(2, 1)) == ("idle",)


@pytest.mark.parametrize("fault", [math.nan, math.inf], ids=["NaN", "Inf"])
def test_images_that_are_not_finite_are_refused(fault: float):
    with pytest.raises(DataError, match="the images hold NaN or Inf"):
        run(Two(), torch.tensor([[1.0], [fault]]))


@pytest.mark.parametrize("value", [-1.0, 0.0], ids=["NaN", "-Inf"])
def test_a_computed_value_that_is_not_finite_is_refused_with_its_place(value: float):
    model = Two()
    with pytest.raises(DataError, match="the value at 'behind' is not finite"):
        run(model, torch.tensor([[1.0], [value]]))
    assert model.before.observer is None  # it computes again


@pytest.mark.parametrize("method", ["minmax", "percentile", "mse", "entropy"])
def test_the_same_seed_gives_the_same_grids(method: str):
    inputs = torch.rand(200, 500, generator=torch.Generator().manual_seed(0)) + 0.1
    scales = []
    for _ in range(2):
        model = Two()
        run(model, inputs, method=method)
        scales.append((model.before.scale.item(), model.behind.scale.item(), model.behind.zero_point.item()))
    assert scales[0] == scales[1]


@pytest.mark.parametrize("method", ["percentile", "entropy"])
def test_the_method_chooses_the_range_an_outlier_among_many_values_is_cut(method: str):
    inputs = torch.rand(BATCH, 4000, generator=torch.Generator().manual_seed(0)) + 0.1
    inputs[0, 0] = 1000.0
    model = Two()
    run(model, inputs, method=method)
    assert model.before.scale.item() < 500 / 255
