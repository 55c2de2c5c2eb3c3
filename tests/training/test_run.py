from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from tinyml.data import Task
from tinyml.layers.attachment import Attachment, attachment_faults
from tinyml.training import TrainingSettings, frozen, train
from tinyml.training.weights import copy_out


class Growing(Attachment):
    """Zeroes as large a share of the weights as the training has done."""

    mask: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", torch.ones_like(weight))

    def forward(self, weight: Tensor) -> Tensor:
        return weight * self.mask

    def after_step(self, original: Tensor, share: float) -> None:
        self.mask.view(-1)[: round(share * original.numel())] = 0

    def fault(self, weight: Tensor) -> str:
        return "some weights are left" if weight.any() else ""


@pytest.fixture
def masked(module: nn.Module) -> nn.Module:
    parametrize.register_parametrization(module[5], "weight", Growing(module[5].weight.detach()))
    return module


@pytest.mark.parametrize("ema_decay", [0.0, 0.9], ids=["plain", "averaged"])
def test_attachments_follow_the_run_to_its_end(
    task: Task, settings: TrainingSettings, masked: nn.Module, ema_decay: float
) -> None:
    train(masked, replace(task, validation=None), replace(settings, ema_decay=ema_decay))
    assert attachment_faults(masked) == []


def test_an_attachment_is_advanced_before_the_hooks_see_the_step(
    task: Task, settings: TrainingSettings, masked: nn.Module
) -> None:
    zeros: list[int] = []
    train(masked, task, settings, on_step=[lambda own, _: zeros.append(int((own[5].weight == 0).sum()))])
    assert zeros == [round(step / 12 * 128) for step in range(1, 13)]


def test_the_attachment_of_a_frozen_layer_stays(task: Task, settings: TrainingSettings, masked: nn.Module) -> None:
    with frozen(masked, ["5"]):
        train(masked, task, settings)
    assert copy_out(masked)["5.parametrizations.weight.0.mask"].all()


def test_an_epoch_with_unfinished_attachments_is_not_the_best_even_with_the_best_score(
    masked: nn.Module, task: Task, settings: TrainingSettings
) -> None:
    result = train(masked, task, settings)  # with all its weights at zero the network is at its worst
    assert [epoch.unfinished for epoch in result.history] == [True, True, False]
    assert result.best_epoch == 3
    assert attachment_faults(masked) == []
