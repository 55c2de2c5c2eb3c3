"""linear_quantization as tests apply it, to a small network unless they bring one."""

from random_task import random_context, uncompressed
from small_network import SMALL
from torch import nn

from tinyml.passes.base import Compressed
from tinyml.passes.linear_quantization import Calibration, LinearQuantization

CALIBRATION = {"calibration": Calibration(method="minmax", images=64)}


def quantize(model: nn.Module, *, target: str = "x86-avx2", shape: tuple[int, ...] = SMALL, **settings) -> Compressed:
    step = LinearQuantization(**({} if "weights_only" in settings else CALIBRATION), **settings)
    before, context = uncompressed(model, shape), random_context(shape, target=target)
    step.requires(before, context)
    after = step.apply(before, context)
    step.ensures(before, after)
    return after
