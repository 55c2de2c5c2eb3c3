"""A small network with every kind of layer that integers run, and linear_quantization of it."""

import torch
from random_task import random_context, uncompressed
from torch import nn

from tinyml.passes.base import Compressed
from tinyml.passes.linear_quantization import Calibration, LinearQuantization


def small() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(64, 10)
    ).eval()


SMALL = (3, 8, 8)
CALIBRATION = {"calibration": Calibration(method="minmax", images=64)}


def quantize(model: nn.Module, *, target: str = "x86-avx2", shape: tuple[int, ...] = SMALL, **settings) -> Compressed:
    step = LinearQuantization(**({} if "weights_only" in settings else CALIBRATION), **settings)
    before, context = uncompressed(model, shape), random_context(shape, target=target)
    step.requires(before, context)
    after = step.apply(before, context)
    step.ensures(before, after)
    return after
