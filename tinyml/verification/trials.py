"""Trials of int8 arithmetic: three runs of the file in the runtime, and the trained model with saturation emulated."""

import logging
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from tinyml.errors import CheckpointError, TinymlError
from tinyml.layers.integer_layers import IntegerLayer, integer_layers
from tinyml.layers.quantizers import ActivationQuantizer
from tinyml.numerics.saturation import saturation_error
from tinyml.runtime.session import logits, open_session
from tinyml.verification.check import Check, outcome

THREE_RUNS = 0.99
BATCH = 50

logger = logging.getLogger(__name__)


def three_runs(
    model: Path, inputs: NDArray[Any], default: NDArray[np.float32], *, threads: int, bound: float = THREE_RUNS
) -> Check:
    """Return whether the optimised session answers as the unoptimised and the slower exact one do, on this machine.

    Args:
        model: the ONNX file.
        inputs: (N, ...) as the file takes them.
        default: the optimised session's outputs, (N, classes).
        threads: of every session.
        bound: least share of equal answers.
    """
    runs = {"unoptimised": logits(open_session(model, threads=threads, optimized=False), inputs)}
    try:
        runs["with x64quantprecision"] = logits(open_session(model, threads=threads, x64_quant_precision=True), inputs)
    except (
        CheckpointError
    ) as error:  # onnxruntime 1.31 breaks some files with signed activations in that mode, none else
        logger.info("the session with x64quantprecision cannot run the file: %s", error)
    shares = {name: float((default.argmax(-1) == other.argmax(-1)).mean()) for name, other in runs.items()}
    return Check(
        name="three runs on this CPU" if len(runs) == 2 else "two runs on this CPU",
        value=", ".join(f"{share:.2%} as {name}" for name, share in shares.items()),
        bound=f">= {100 * bound:.4g}% each",
        outcome=outcome(min(shares.values()) >= bound),
        explanation=f"Same answers of the optimised session and of those that cannot saturate (onnxruntime's graph as "
        f"written, and its slower exact kernels), on {len(inputs)} inputs.",
    )


@torch.inference_mode()
def saturated_outputs(model: nn.Module, inputs: Tensor) -> NDArray[np.float32]:
    """Return what the quantized model would answer on x86 without VNNI, (N, ...); emulated, not measured there."""
    hooks = [layer.layer.register_forward_hook(_saturate(layer), prepend=True) for layer in integer_layers(model)]
    try:
        return torch.cat([model(batch) for batch in torch.split(inputs, BATCH)]).float().numpy()
    finally:
        for hook in hooks:
            hook.remove()


def _saturate(layer: IntegerLayer) -> Callable[[nn.Module, tuple[Any, ...], Tensor], Tensor]:
    """Return a hook that adds the error of saturation to the layer's output."""
    layer.weight_quantizer.freeze(layer.weight)
    quantizers = cycle(layer.input_quantizers)

    def hook(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        quantizer = next(quantizers)
        if is_depthwise(module):
            return output
        error = _error(module, inputs[0], quantizer, layer.weight_quantizer.codes)
        scale = quantizer.scale * layer.weight_quantizer.scale
        return output + (error * scale[:, None]).reshape(output.shape)

    return hook


def is_depthwise(layer: nn.Module) -> bool:
    """Return whether onnxruntime runs the layer by its depthwise kernel, which does not saturate."""
    groups = getattr(layer, "groups", 1)
    return bool(groups > 1 and groups == layer.in_channels)


def _error(layer: nn.Module, x: Tensor, quantizer: ActivationQuantizer, codes: Tensor) -> Tensor:
    """Return saturated - exact accumulators, shaped (N, C_out, L)."""
    if not isinstance(layer, (nn.Conv1d, nn.Conv2d, nn.Linear)):
        raise TinymlError(f"saturation is not emulated for {type(layer).__name__}")
    offset = -int(torch.iinfo(quantizer.zero_point.dtype).min)  # signed activations are shifted to unsigned ones
    zero = float(quantizer.zero_point) + offset
    unsigned = torch.round(x / quantizer.scale) + zero
    if isinstance(layer, nn.Linear):
        rows = unsigned.flatten(0, -2)
        return saturation_error(rows[:, :, None], codes).squeeze(-1).reshape(*x.shape[:-1], -1).unsqueeze(-1)
    return _convolution_error(layer, unsigned, zero, codes)


def _convolution_error(layer: nn.Conv1d | nn.Conv2d, unsigned: Tensor, zero: float, codes: Tensor) -> Tensor:
    """Return the error (N, C_out, L) of a one- or two-dimensional convolution, group by group."""
    flat = unsigned.ndim == 3
    unsigned, codes = (t.unsqueeze(2) if flat else t for t in (unsigned, codes))
    kernel, dilation, stride = ((1, *v) if flat else v for v in (layer.kernel_size, layer.dilation, layer.stride))
    padded = F.pad(unsigned, _padding(layer, kernel, dilation), value=zero)
    columns = F.unfold(padded, kernel, dilation=dilation, stride=stride)
    blocks = columns.reshape(len(columns), layer.in_channels, kernel[0] * kernel[1], -1).chunk(layer.groups, dim=1)
    parts = [
        saturation_error(block.transpose(1, 2).flatten(1, 2), weights.permute(0, 2, 3, 1).flatten(1))
        for block, weights in zip(blocks, codes.chunk(layer.groups), strict=True)
    ]
    return torch.cat(parts, dim=1)


def _padding(
    layer: nn.Conv1d | nn.Conv2d, kernel: tuple[int, ...], dilation: tuple[int, ...]
) -> tuple[int, int, int, int]:
    """Return (left, right, top, bottom) as F.pad wants them."""
    if isinstance(layer.padding, str):
        if layer.padding == "valid":
            return 0, 0, 0, 0
        total = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        return total[1] // 2, total[1] - total[1] // 2, total[0] // 2, total[0] - total[0] // 2
    rows, columns = layer.padding if len(layer.padding) == 2 else (0, *layer.padding)
    return columns, columns, rows, rows
