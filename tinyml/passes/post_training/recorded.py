"""Equalization, AdaRound and bias correction as steps of a pass: what each did goes into the history of the run."""

from pydantic import JsonValue
from torch import Tensor, nn

from tinyml.graph.capture import Capture, propagate_shapes
from tinyml.passes.base import Context
from tinyml.passes.post_training.adaround import AdaRound, adaround
from tinyml.passes.post_training.bias_correction import correct_biases
from tinyml.passes.post_training.equalization import equalize


def equalize_layers(captured: Capture, example: Tensor, context: Context) -> None:
    """Equalize the layers of the folded graph in place; where there is no pair, the history says why."""
    if captured.graph_module is None:
        context.record({"event": "equalization", "pairs": [], "reason": captured.opaque[0].reason})
        return
    propagate_shapes(captured.graph_module, example)
    pairs: list[JsonValue] = [[pair.first, pair.second] for pair in equalize(captured.graph_module)]
    reason = "" if pairs else "no layer is read by one other layer alone, with nothing but a ReLU or a pool between"
    context.record({"event": "equalization", "pairs": pairs, "reason": reason})


def learn_roundings(
    model: nn.Module, reference: nn.Module, inputs: Tensor, settings: AdaRound, context: Context
) -> None:
    """Learn the rounding of every weight in place; see `adaround`."""
    done, left = adaround(model, reference, inputs, settings=settings, seed=context.seed, progress=context.progress)
    errors: dict[str, JsonValue] = {
        name: {"nearest": each.nearest_error, "learned": each.error} for name, each in done.items()
    }
    context.record({"event": "adaround", "mean_squared_error": errors, "nearest": {**left}})


def shift_biases(model: nn.Module, reference: nn.Module, inputs: Tensor, context: Context) -> None:
    """Correct the biases in place; see `correct_biases`."""
    done, left = correct_biases(model, reference, inputs, progress=context.progress)
    context.record({"event": "bias correction", "largest": {**done}, "left": {**left}})
