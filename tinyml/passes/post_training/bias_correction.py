"""Bias correction: what quantization adds to a layer's output on average is taken from the layer's bias.

    bias_c += mean(output_c in the float network) - mean(output_c in the quantized network)

over the calibration images and all positions, layer by layer, each behind those that are corrected already. Source:
Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction" (arXiv:1906.04721), section
4.2, in the empirical form of its appendix D.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from tinyml.graph.shared_parameters import shared_parameters
from tinyml.layers.quantizers import weight_quantizers
from tinyml.passes.post_training.layer_calls import calls_in_order, image_batches, watch
from tinyml.progress import Progress


@torch.no_grad()
def correct_biases(
    model: nn.Module, reference: nn.Module, inputs: Tensor, *, progress: Progress
) -> tuple[dict[str, float], dict[str, str]]:
    """Correct the biases of the model's quantized layers, in place.

    Args:
        model: quantized and calibrated, in eval mode.
        reference: the same network in float, with the same names.
        inputs: calibration images (N, ...).
        progress: told of each layer.

    Returns:
        The largest correction of each layer by its name, in the order of their calls, and why others have none.
    """
    batches = image_batches(inputs)
    quantized = weight_quantizers(model)
    calls = calls_in_order(reference, quantized, batches[0])
    left = {name: "no image of the first batch reaches it" for name in quantized if name not in calls}
    left.update((name, "it has no bias") for name in calls if model.get_submodule(name).bias is None)
    shared = shared_parameters(model)
    left.update((name, "it shares its bias with another layer") for name in calls if f"{name}.bias" in shared)
    calls = {name: count for name, count in calls.items() if name not in left}
    should = _means(reference, batches, calls)
    done = {}
    for name in progress.track(calls, label="correcting biases", total=len(calls)):
        bias = model.get_submodule(name).get_parameter("bias")
        correction = (should[name] - _means(model, batches, {name: calls[name]})[name]).to(bias.dtype)
        bias.add_(correction)
        done[name] = float(correction.abs().max())
    return done, left


def _means(model: nn.Module, batches: Sequence[Tensor], calls: Mapping[str, int]) -> dict[str, Tensor]:
    """Return the mean float64 (C_out,) of each layer's outputs, over all its calls."""
    sums: dict[nn.Module, Tensor] = {}
    counts: dict[nn.Module, int] = {}

    def add(layer: nn.Module, x: Tensor, y: Tensor) -> None:
        values = y.movedim(_channel_axis(layer), 0).flatten(1)
        sums[layer] = values.sum(dim=1, dtype=torch.float64) + sums.get(layer, 0.0)
        counts[layer] = counts.get(layer, 0) + values.shape[1]

    watch(model, batches, calls, add)
    layers = {name: model.get_submodule(name) for name in calls}
    return {name: sums[layer] / counts[layer] for name, layer in layers.items()}


def _channel_axis(layer: nn.Module) -> int:
    """Return the axis of the channels in what the layer gives, counted from the end: it may give no batch."""
    return -1 - len(layer.kernel_size) if isinstance(layer, nn.Conv1d | nn.Conv2d) else -1
