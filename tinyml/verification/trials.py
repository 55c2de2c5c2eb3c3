"""Trials of int8 arithmetic: three runs of the file in the runtime, and the trained model with saturation emulated."""

import logging
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tinyml.errors import CheckpointError, TinymlError
from tinyml.graph.first_input import first_input
from tinyml.graph.network_outputs import outputs_of
from tinyml.layers.integer_layers import IntegerLayer, integer_layers
from tinyml.layers.quantizers import ActivationQuantizer
from tinyml.numerics.saturation import convolution_saturation, saturation_error
from tinyml.runtime.exit_policy import ExitPolicy
from tinyml.runtime.session import logits, open_session
from tinyml.verification.check import Check, outcome
from tinyml.verification.exits import ExitAnswers

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
def saturated_outputs(model: nn.Module, inputs: Tensor, policy: ExitPolicy | None = None) -> NDArray[np.float32]:
    """Return what the quantized model would answer on x86 without VNNI, (N, ...); emulated, not measured there.

    Args:
        model: the trained model.
        inputs: (N, ...), normalised.
        policy: by which examples leave a network with exits; its answers are those of the exits that they take.
    """
    hooks = [
        layer.layer.register_forward_hook(_saturate(layer), prepend=True, with_kwargs=True)
        for layer in integer_layers(model)
    ]
    try:
        given = [torch.stack(outputs_of(model(batch))) for batch in torch.split(inputs, BATCH)]
        at_exits: NDArray[np.float32] = torch.cat(given, dim=1).float().numpy()
    finally:
        for hook in hooks:
            hook.remove()
    answered: NDArray[np.float32] = at_exits[-1]
    return answered if policy is None else ExitAnswers(policy=policy, logits=at_exits).chosen


def _saturate(layer: IntegerLayer) -> Callable[[nn.Module, tuple[Any, ...], dict[str, Any], Tensor], Tensor]:
    """Return a hook that adds the error of saturation to the layer's output."""
    layer.weight_quantizer.freeze(layer.weight)
    quantizers = cycle(layer.input_quantizers)

    def hook(module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any], output: Tensor) -> Tensor:
        quantizer = next(quantizers)
        if is_depthwise(module) or quantizer.zero_point.dtype.itemsize > 1:  # float kernels run 16-bit activations
            return output
        error = _error(module, first_input(inputs, named), quantizer, layer.weight_quantizer.codes)
        scale = quantizer.scale * layer.weight_quantizer.scale
        return output + (error * scale.reshape(-1, 1)).reshape(output.shape)

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
    return convolution_saturation(
        unsigned,
        codes,
        zero=zero,
        stride=layer.stride,
        padding=_padding(layer),
        dilation=layer.dilation,
        groups=layer.groups,
    )


def _padding(layer: nn.Conv1d | nn.Conv2d) -> tuple[int, ...]:
    """Return (left, right, top, bottom) as F.pad wants them, (left, right) for one dimension."""
    if layer.padding == "valid":
        sides = [(0, 0) for _ in layer.kernel_size]
    elif isinstance(layer.padding, str):
        totals = [d * (k - 1) for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
        sides = [(total // 2, total - total // 2) for total in totals]
    else:
        sides = [(size, size) for size in layer.padding]
    return tuple(size for side in reversed(sides) for size in side)
