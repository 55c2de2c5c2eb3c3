"""Is a wrong answer the runtime's or the quantizer's? Each integer layer alone, on the codes that it is given.

The runtime runs the file once and shows the codes before and behind every layer. From the codes before, a layer is
computed again twice: in exact integers (numerics/integer.py) and by onnx.reference from the file's own nodes. To show
codes changes no kernel, but for signed activations on x86: onnxruntime makes unsigned ones only of those not shown.

    onnx.reference differs from the integers    the file's numbers do not fit together: the exporter's mistake
    the runtime differs, as if 16 bits held     the runtime saturates on this CPU (numerics/saturation.py)
      the sum of two products
    the runtime differs otherwise               the runtime's kernel is wrong
    nothing differs                             the arithmetic is sound: a wrong answer is the quantizer's

Both compute in float32 where the reference is exact, so that a value beside the middle of two codes may fall to either:
a layer agrees where no code is off by more than one step, and at most 1 in 1,000 by one (or a single one).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, numpy_helper
from torch import Tensor

from tinyml.errors import TinymlError
from tinyml.export.rewrites.index import GraphIndex
from tinyml.graph.onnx_constants import Constants
from tinyml.graph.onnx_graphs import graphs
from tinyml.measure.observed_shapes import watched
from tinyml.runtime.session import open_stage
from tinyml.verification.check import Check, outcome
from tinyml.verification.integer_arithmetic import IntegerArithmetic, read_arithmetic
from tinyml.verification.quantized_layers import quantized_layers

LAYER_BY_LAYER: Final = "layer by layer in integers"
OFF_BY_ONE: Final = 1e-3
"""Largest share of a layer's codes that may be off by one step."""
INPUT_ELEMENTS: Final = 16 * 3 * 32 * 32
"""As many inputs are taken as have this many elements together: 16 small images, or one large one."""


@final
@dataclass(frozen=True, kw_only=True)
class Difference:
    """How far two runs of a layer lie apart: of `codes` codes, `one` differ by one step and `more` by more."""

    codes: int
    one: int
    more: int

    @property
    def share(self) -> float:
        """The share of codes that differ."""
        return (self.one + self.more) / max(self.codes, 1)

    @property
    def agrees(self) -> bool:
        """Whether it is within rounding, see the module's docstring."""
        return self.more == 0 and self.one <= max(OFF_BY_ONE * self.codes, 1)

    def __str__(self) -> str:
        """Return the shares, as in "0.0012% of 65,536 codes off by one step, 0% by more"."""
        one, more = (f"{100 * count / max(self.codes, 1):.2g}%" for count in (self.one, self.more))
        return f"{one} of {self.codes:,} codes off by one step, {more} by more"


@final
@dataclass(frozen=True, kw_only=True)
class LayerTrial:
    """One layer: the runtime and onnx.reference against exact integers; `fault` is "" where both agree."""

    name: str
    runtime: Difference
    written: Difference
    fault: str


def layer_by_layer(model: ModelProto, inputs: NDArray[Any], *, threads: int, later: Sequence[ModelProto] = ()) -> Check:
    """Return whether each integer layer answers what its integers say, on the first of the inputs.

    Args:
        model: a file with integer layers.
        inputs: (N, ...) as the file takes them.
        threads: of the session.
        later: of a network with exits, whose first stage `model` is, the stages behind it.
    """
    known = _first_inputs(model, inputs)
    trials: list[LayerTrial] = []
    left_out: dict[str, list[str]] = {}
    for stage in (model, *later):
        index, opsets = GraphIndex(stage.graph), {entry.domain: entry.version for entry in stage.opset_import}
        layers, others = read_layers(stage.graph, index, opsets)
        for reason, names in others.items():
            left_out.setdefault(reason, []).extend(names)
        if layers or later:
            known |= _values(stage, layers, known, threads=threads)
        seen = {name: torch.from_numpy(known[name]) for layer in layers for name in (layer.source, layer.answer)}
        trials += [layer_trial(layer, seen[layer.source], seen[layer.answer], index, opsets) for layer in layers]
    faults = [f"{trial.name}: {trial.fault}" for trial in trials if trial.fault]
    return Check(
        name=LAYER_BY_LAYER,
        value=_value(trials, len(trials) + sum(map(len, left_out.values()))),
        bound="at most one step, on <= 0.1% of a layer's codes" if trials else "",
        outcome=outcome(not faults) if trials else "noted",
        explanation=" ".join(filter(None, (_explanation(faults) if trials else "", _listed(left_out)))),
    )


def read_layers(
    graph: GraphProto, index: GraphIndex, opsets: Mapping[str, int]
) -> tuple[list[IntegerArithmetic], dict[str, list[str]]]:
    """Return the layers of a graph that can be computed in integers, and the names of the others by reason."""
    constants = Constants(index.constants, index.producers, opsets)
    read: list[IntegerArithmetic] = []
    left_out: dict[str, list[str]] = {}
    for layer in quantized_layers(graph, index, constants):
        try:
            read.append(read_arithmetic(layer, index, constants))
        except TinymlError as error:
            left_out.setdefault(str(error), []).append(layer.name)
    for branch in list(graphs(graph))[1:]:
        inner = GraphIndex(branch)
        inside = quantized_layers(branch, inner, Constants(inner.constants, inner.producers, opsets))
        if inside:
            left_out.setdefault("inside a branch", []).extend(layer.name for layer in inside)
    return read, left_out


def _first_inputs(model: ModelProto, inputs: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Return as many of the inputs as are taken, by the name of the model's input; a fixed batch is filled up."""
    stored = {item.name for item in model.graph.initializer}
    entry = next(item for item in model.graph.input if item.name not in stored)
    fixed = entry.type.tensor_type.shape.dim[0].dim_value
    count = fixed or max(1, min(len(inputs), INPUT_ELEMENTS // max(inputs[0].size, 1)))
    return {entry.name: np.resize(inputs, (count, *inputs.shape[1:]))}


def _values(
    model: ModelProto, layers: Iterable[IntegerArithmetic], known: Mapping[str, NDArray[Any]], *, threads: int
) -> dict[str, NDArray[Any]]:
    """Return the outputs and the codes before and behind every layer as the runtime computes them, in one run."""
    names = [name for layer in layers for name in (layer.source, layer.answer) if name not in known]
    return open_stage(watched(model, names), threads=threads).run(known)


def layer_trial(
    layer: IntegerArithmetic, x: Tensor, answer: Tensor, index: GraphIndex, opsets: Mapping[str, int]
) -> LayerTrial:
    """Return how the runtime and onnx.reference do on one layer.

    Args:
        layer: of the graph of `index`.
        x: codes of its input, (N, ...).
        answer: codes of its output as the runtime computes them.
        index: look-ups in the graph.
        opsets: what the file imports.
    """
    few = x[:1]
    try:
        exact = layer.exact(x)
    except TinymlError as error:
        none = Difference(codes=0, one=0, more=0)
        return LayerTrial(name=layer.name, runtime=none, written=none, fault=f"the quantizer's mistake: {error}.")
    runtime = _difference(answer, exact)
    written = _difference(_as_written(layer, few, index, opsets), exact[: len(few)])
    fault = _fault(layer, x, answer, runtime, written)
    return LayerTrial(name=layer.name, runtime=runtime, written=written, fault=fault)


def _fault(layer: IntegerArithmetic, x: Tensor, answer: Tensor, runtime: Difference, written: Difference) -> str:
    """Return whose mistake it is and why; "" where there is none."""
    if not written.agrees:
        return (
            f"the exporter's mistake: the file's nodes do not compute what its integers say ({written}, by "
            "onnx.reference); is the bias's scale that of input x weight?"
        )
    if runtime.agrees:
        return ""
    if layer.can_saturate and _difference(answer, layer.saturated(x)).agrees:
        return (
            f"the runtime saturates: its codes are those of sums of two products held in 16 bits ({runtime}), on x86 "
            "without VNNI; the file is right."
        )
    return f"the runtime's mistake: the file is right by onnx.reference, this kernel is not ({runtime})."


def _as_written(layer: IntegerArithmetic, x: Tensor, index: GraphIndex, opsets: Mapping[str, int]) -> Tensor:
    """Return the codes of the output by onnx.reference: with its input's codes stored, the answer is a constant."""
    stored = {**index.constants, layer.source: numpy_helper.from_array(x.numpy(), layer.source)}
    return torch.from_numpy(Constants(stored, index.producers, opsets).value(layer.answer))


def _difference(a: Tensor, b: Tensor) -> Difference:
    steps = (a.int() - b.int()).abs()
    return Difference(codes=steps.numel(), one=int((steps == 1).sum()), more=int((steps > 1).sum()))


def _value(trials: list[LayerTrial], layers: int) -> str:
    """Return how many layers were compared, and the worst of them."""
    compared = f"{len(trials)} of {layers} layers"
    if not trials:
        return compared
    found = {
        "onnxruntime": [(trial.runtime, trial.name) for trial in trials],
        "onnx.reference": [(trial.written, trial.name) for trial in trials],
    }
    worst = {who: max(pairs, key=lambda pair: (pair[0].more, pair[0].share)) for who, pairs in found.items()}
    return "; ".join([compared, *(f"{who} {pair[0]} ({pair[1]})" for who, pair in worst.items())])


def _explanation(faults: list[str]) -> str:
    """Return what the trials mean; of many faults the first three are told."""
    if not faults:
        return (
            "Each layer alone on the codes it is given, against exact integer arithmetic; the worst layers. Where this "
            "passes, an answer that is wrong is the quantizer's mistake, not the runtime's."
        )
    more = f" And {len(faults) - 3} more layers." if len(faults) > 3 else ""
    return " ".join(faults[:3]) + more


def _listed(left_out: Mapping[str, list[str]]) -> str:
    """Return the layers that could not be compared, by reason; of many names the first three are told."""
    reasons = []
    for reason, names in left_out.items():
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        reasons.append(f"{', '.join(names[:3])}{more} ({reason})")
    return f"Not compared: {'; '.join(reasons)}." if reasons else ""
