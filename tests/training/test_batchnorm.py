import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tinyml.data import Split, Task
from tinyml.errors import DataError, UsageError
from tinyml.training import frozen, recalibrate_batchnorm
from tinyml.training.evaluation import NonFiniteError
from tinyml.training.weights import copy_out


def plain(task: Task, n: int = 64) -> Task:
    """The same task with float inputs (1, 4, 4), which are given to the network as they are."""
    x = np.random.default_rng(3).normal(2.0, 3.0, (n, 1, 4, 4)).astype(np.float32)
    split = Split(x=x, y=np.arange(n) % 2, source="noise")
    changed = {"validation": None, "test": None, "mean": (), "std": ()}
    return replace(task, train=split, **changed, augmentation=type(task.augmentation)(), fingerprint="")


class Shared(nn.Module):
    """One normalisation called on the inputs and on their doubles; one that is not called; one without statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(1)
        self.idle = nn.BatchNorm2d(1)
        self.batch_only = nn.BatchNorm2d(1, track_running_stats=False)
        self.head = nn.Linear(16, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head((self.norm(x) + self.batch_only(self.norm(2 * x))).flatten(1))


@pytest.mark.parametrize(
    "norm",
    [
        pytest.param(nn.Sequential(nn.Flatten(2), nn.BatchNorm1d(1)), id="1d"),
        pytest.param(nn.Sequential(nn.BatchNorm2d(1)), id="2d"),
        pytest.param(nn.Sequential(nn.Unflatten(2, (2, 2)), nn.BatchNorm3d(1)), id="3d"),
        pytest.param(nn.Sequential(nn.BatchNorm2d(1, affine=False)), id="without parameters"),
        pytest.param(nn.Sequential(nn.Dropout(0.5), nn.BatchNorm2d(1)), id="behind dropout"),
    ],
)
def test_the_statistics_are_those_of_all_images_in_one_batch(task: Task, norm: nn.Sequential) -> None:
    task = plain(task)
    assert task.train is not None
    norm[-1].running_mean.fill_(100.0)
    norm[-1].num_batches_tracked.fill_(9)
    assert recalibrate_batchnorm(norm, task, images=64, seed=0) == 1
    x = task.train.x.astype(np.float64)
    # 1024 additions in float32 lose at most 1024 x 2^-24 of the sum of magnitudes
    relative = 1024 * 2**-24
    assert norm[-1].running_mean.item() == pytest.approx(x.mean(), abs=relative * np.abs(x).mean())
    assert norm[-1].running_var.item() == pytest.approx(x.var(ddof=1), rel=2 * relative)


def test_every_batch_counts_the_same_behind_a_convolution(task: Task, module: nn.Module) -> None:
    seen: list[np.ndarray] = []
    module[1].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].double().numpy()))
    recalibrate_batchnorm(module, task, images=50, seed=0, batch_size=20)
    assert [len(x) for x in seen] == [17, 17, 16]
    variances = [x.var(axis=(0, 2, 3), ddof=1) for x in seen]
    # 17 x 16 additions of float32, and three of the running average
    np.testing.assert_allclose(module[1].running_var.numpy(), np.mean(variances, axis=0), rtol=300 * 2**-23)


def test_a_normalisation_called_twice_averages_both_calls(task: Task) -> None:
    module, task = Shared(), plain(task)
    assert task.train is not None
    assert recalibrate_batchnorm(module, task, images=64, seed=0) == 1
    mean = task.train.x.astype(np.float64).mean()
    assert module.norm.running_mean.item() == pytest.approx((mean + 2 * mean) / 2, rel=1e-4)


def test_nothing_else_changes(task: Task, module: nn.Module) -> None:
    module.train()
    module[4].eval()
    before = copy_out(module)
    recalibrate_batchnorm(module, task, images=10, seed=0)
    after = copy_out(module)
    assert {name for name in before if not torch.equal(before[name], after[name])} == {
        "1.running_mean", "1.running_var",
    }  # fmt: skip
    assert (module[1].momentum, module[0].training, module[1].training, module[4].training) == (0.1, True, True, False)


def test_what_is_not_called_keeps_its_statistics(task: Task) -> None:
    module = Shared()
    nn.init.constant_(module.idle.running_mean, 7.0)
    recalibrate_batchnorm(module, task, images=10, seed=0)
    assert module.idle.running_mean.item() == 7.0


def test_frozen_statistics_stay(task: Task, module: nn.Module) -> None:
    before = copy_out(module)
    with frozen(module, ["1"]):
        assert recalibrate_batchnorm(module, task, images=10, seed=0) == 0
    assert all(torch.equal(before[name], tensor) for name, tensor in copy_out(module).items())


def test_a_network_without_normalisation_has_none(task: Task) -> None:
    assert recalibrate_batchnorm(nn.Sequential(nn.Flatten(), nn.Linear(16, 2)), task, images=10, seed=0) == 0


def test_the_seed_draws_the_images(task: Task, module: nn.Module) -> None:
    def mean(seed: int) -> float:
        recalibrate_batchnorm(module, task, images=10, seed=seed)
        return float(module[1].running_mean.sum())

    assert mean(0) == mean(0) != mean(1)


def test_more_images_than_there_are_is_logged(task: Task, module: nn.Module, caplog: pytest.LogCaptureFixture) -> None:
    recalibrate_batchnorm(module, task, images=1000, seed=0)
    assert "all 64 images: 1000 were asked for" in caplog.text


@pytest.mark.parametrize("sizes", [{"images": 1}, {"images": 10, "batch_size": 1}], ids=["one image", "batches of one"])
def test_too_few_images_are_refused(task: Task, module: nn.Module, sizes: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="need 2 images at a time"):
        recalibrate_batchnorm(module, task, seed=0, **sizes)


def test_no_train_split_is_refused(task: Task, module: nn.Module) -> None:
    with pytest.raises(DataError, match="no train split"):
        recalibrate_batchnorm(module, replace(task, train=None), images=10, seed=0)


def test_statistics_that_are_not_finite_leave_the_old_ones(task: Task, module: nn.Module) -> None:
    nn.init.constant_(module[0].weight, math.nan)
    before = copy_out(module)
    with pytest.raises(NonFiniteError, match="statistics of '1'"):
        recalibrate_batchnorm(module, task, images=10, seed=0)
    assert torch.equal(module[1].running_mean, before["1.running_mean"])
    assert module[1].momentum == 0.1
