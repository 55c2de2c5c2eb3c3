"""Calibration: run images through a model whose activation quantizers watch, then set their scales and zero points."""

import math

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from tinyml.errors import DataError
from tinyml.layers.observer import RangeObserver
from tinyml.layers.quantizers import ActivationQuantizer
from tinyml.numerics.affine import Grid, affine_parameters, symmetric_parameters
from tinyml.numerics.ranges import RANGES, Method
from tinyml.progress import Progress

BATCH = 64


@torch.inference_mode()
def calibrate(
    model: nn.Module, inputs: Tensor, *, method: Method, symmetric: bool, seed: int, progress: Progress
) -> tuple[str, ...]:
    """Set every activation quantizer of the model from the inputs (N, ...), in place.

    Returns:
        The names of quantizers whose value never occurred: they were not called.

    Raises:
        DataError: The inputs, or a value that the model computes from them, are not finite.
    """
    if not bool(torch.isfinite(inputs).all()):
        raise DataError("calibration: the images hold NaN or Inf; clean the train split")
    quantizers = {name: module for name, module in model.named_modules() if isinstance(module, ActivationQuantizer)}
    if inputs.ndim == 4:
        inputs = inputs.contiguous(memory_format=torch.channels_last)  # the layout of the fastest convolutions
    batches = torch.tensor_split(inputs, math.ceil(len(inputs) / BATCH))  # of one size, so that each counts alike
    generator = torch.Generator().manual_seed(seed)
    for quantizer in quantizers.values():
        quantizer.observer = RangeObserver(batches=len(batches), generator=generator, sample=method != "minmax")
    try:
        with parametrize.cached():  # the weights are quantized once, not once a batch
            for batch in progress.track(batches, label="calibrating", total=len(batches)):
                model(batch)
        unseen = tuple(name for name, quantizer in quantizers.items() if not _observed(quantizer).seen)
        for name, quantizer in progress.track(quantizers.items(), label="choosing ranges", total=len(quantizers)):
            if name not in unseen:
                _set(name, quantizer, method, symmetric)
    finally:
        for quantizer in quantizers.values():
            quantizer.observer = None
    return unseen


def _observed(quantizer: ActivationQuantizer) -> RangeObserver:
    if quantizer.observer is None:
        raise ValueError("the quantizer is not observing")
    return quantizer.observer


def _set(name: str, quantizer: ActivationQuantizer, method: Method, symmetric: bool) -> None:
    observer, grid = _observed(quantizer), quantizer.grid
    if not (abs(observer.low) < float("inf") and abs(observer.high) < float("inf")):
        where = name.removeprefix("activation_quantizers.").removesuffix("_grid")
        raise DataError(f"calibration: the value at '{where}' is not finite; check the checkpoint and the images")
    if symmetric:
        positive = Grid(q_min=0, q_max=grid.q_max)
        _, magnitude = RANGES[method](observer.sample().abs(), 0.0, max(-observer.low, observer.high), positive)
        scale, zero_point = symmetric_parameters(torch.tensor(magnitude), grid)
    else:
        low, high = RANGES[method](observer.sample(), observer.low, observer.high, grid)
        scale, zero_point = affine_parameters(torch.tensor(low), torch.tensor(high), grid)
    quantizer.scale.copy_(scale)
    quantizer.zero_point.copy_(zero_point)
