"""Post-training linear quantization to 8 bit: BatchNorm folded, weights per output channel, activations calibrated.

Weights are symmetric with one scale per output channel, activations have one scale and zero point per value
(asymmetric, or symmetric where the target asks). Where the target's integer kernels add two products in 16 bits,
weight codes stay within -64..64, which is the 7-bit range of the static bound |w_i| + |w_j| <= 128. Source:
Krishnamoorthi 2018, "Quantizing deep convolutional networks for efficient inference"; placement of the quantizers:
tinyml/graph/quantization_points.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import fx, nn

from tinyml.architecture import (
    CaptureGraph,
    Edit,
    FoldBatchNorm,
    QuantizeActivations,
    QuantizeStandalone,
    QuantizeWeights,
)
from tinyml.data import Task
from tinyml.errors import DataError, RecipeError, TargetError, TinymlError
from tinyml.graph.capture import Capture, LeftAlone, capture, propagate_shapes
from tinyml.graph.fold import fold, foldable_pairs
from tinyml.graph.operations import WEIGHTED
from tinyml.graph.quantization_points import Plan, plan_graph, plan_modules
from tinyml.layers.attachment import is_computed
from tinyml.layers.integer_layers import snap_biases, widen_for_biases
from tinyml.layers.quantizers import weight_quantizers
from tinyml.numerics.affine import Grid, signed_grid, unsigned_grid
from tinyml.numerics.ranges import Method
from tinyml.passes.base import Compressed, Context, Pass, Role
from tinyml.passes.calibration import calibrate
from tinyml.passes.layer_patterns import check_patterns, own_settings, why_left_out
from tinyml.target import IntegerScheme

REDUCED = Grid(q_min=-64, q_max=64)


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """How activation ranges are chosen."""

    method: Method = "mse"
    images: Annotated[int, Field(ge=1)] = 512


@dataclass(frozen=True, kw_only=True)
class LayerSettings:
    """What may differ from layer to layer."""

    weight_range: Literal["target", "full"] = "target"


@dataclass(frozen=True, kw_only=True)
class LinearQuantization(Pass):
    """Quantize weights and activations to integers.

    Attributes:
        weight_range: "target" keeps weight codes in the range that the target's kernels add without saturating; "full"
            uses all of -127..127 whatever the target.
        include, exclude: glob patterns of module names; excluded layers stay in float.
        layers: settings of the layers that a glob pattern matches; of several, the last that matches counts.
    """

    role: ClassVar[Role] = "quantize"

    weight_bits: Literal[8] = 8
    activation_bits: Literal[8] = 8
    weight_range: Literal["target", "full"] = "target"
    calibration: Calibration = field(default_factory=Calibration)
    include: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()
    layers: Mapping[str, LayerSettings] = field(default_factory=dict)

    def requires(self, model: Compressed, context: Context) -> None:
        """Refuse a target without integer kernels, a quantized model, missing data, patterns that match nothing."""
        if context.target.integer is None:
            raise TargetError(
                f"linear_quantization: target '{context.target.name}' has no integer kernels: "
                f"{context.target.integer_reason}"
            )
        if weight_quantizers(model.module):
            raise RecipeError("linear_quantization: the model is already quantized; start from its float checkpoint")
        _ = _task(context).calibration_split  # refuses where there is nothing to calibrate on
        names = [name for name, module in model.module.named_modules() if isinstance(module, WEIGHTED)]
        check_patterns((*self.include, *self.exclude, *self.layers), names, of="linear_quantization")
        if names and len(self._excluded(model.module)) == len(names):
            raise RecipeError("linear_quantization: include and exclude leave no layer to quantize; widen one of them")

    def apply(self, model: Compressed, context: Context) -> Compressed:
        """Return the quantized model, calibrated."""
        scheme, task = _scheme(context), _task(context)
        inputs = torch.from_numpy(task.calibration_inputs(self.calibration.images, context.seed)).to(context.device)
        model = model.copy()
        captured = capture(model.module)
        edits: list[Edit] = [CaptureGraph()]
        module = captured.module.to(context.device)
        if captured.graph_module is not None:
            propagate_shapes(captured.graph_module, inputs[:1])
            edits.append(_fold(captured.graph_module))
        plan = self._plan(captured, inputs[:1])
        attach = self._attachments(plan, scheme)
        for edit in attach:
            module = edit.apply(module)
        for quantizer, weight in weight_quantizers(module).values():
            quantizer.fit(weight)
        unseen = calibrate(
            module.to(context.device).eval(),
            inputs,
            method=self.calibration.method,
            symmetric=scheme.activation_symmetric,
            seed=context.seed,
            progress=context.progress,
        )
        if unseen:
            raise DataError(
                f"linear_quantization: no calibration image reaches {', '.join(unseen)}; exclude these layers, or give "
                "data that uses them"
            )
        if scheme.biases == "int32":
            widen_for_biases(module)
            snap_biases(module)
        return model.edited(module, [*edits, *attach], plan.left_alone)

    def ensures(self, before: Compressed, after: Compressed) -> None:
        """Check that every scale is finite and positive and every weight code lies on its grid."""
        for name, (quantizer, weight) in weight_quantizers(after.module).items():
            magnitude, scale = weight.detach().abs().flatten(1).amax(dim=1), quantizer.scale
            if not bool((torch.isfinite(scale) & (scale > 0)).all()):
                raise TinymlError(f"linear_quantization: {name} has a scale that is not positive; check its weights")
            # Half a step beyond the last code still rounds to it; the factor allows for float32 rounding.
            if bool((magnitude > scale * (quantizer.grid.q_max + 0.5) * (1 + 1e-5)).any()):
                raise TinymlError(f"linear_quantization: weights of {name} lie beyond its grid; fit its scales again")

    def _excluded(self, module: nn.Module) -> dict[str, str]:
        reasons = {}
        for name, layer in module.named_modules():
            if not isinstance(layer, WEIGHTED):
                continue
            if left_out := why_left_out(name, include=self.include, exclude=self.exclude):
                reasons[name] = left_out
            elif is_computed(layer):
                reasons[name] = "its weight is computed from other parameters (weight norm, spectral norm)"
        return reasons

    def _plan(self, captured: Capture, example: torch.Tensor) -> Plan:
        """Return one plan for the graph and for every module that stayed opaque."""
        reasons = self._excluded(captured.module)
        excluded = frozenset(reasons)
        left = (*captured.opaque, *(LeftAlone(module=name, reason=reason) for name, reason in reasons.items()))
        inside = [plan_modules(captured.module, example, excluded, within=item.module) for item in captured.opaque]
        if captured.graph_module is None:
            plan = Plan()
        else:
            plan = plan_graph(captured.graph_module, example, excluded)
        return Plan(
            activations=plan.activations,
            weights=plan.weights,
            standalone=tuple(name for part in inside for name in part.standalone),
            left_alone=(*left, *plan.left_alone, *(item for part in inside for item in part.left_alone)),
        )

    def _attachments(self, plan: Plan, scheme: IntegerScheme) -> list[Edit]:
        """Return the edits that attach quantizers, grids chosen for the target."""
        activations = unsigned_grid(8) if scheme.activations == "uint8" else signed_grid(8, symmetric=False)
        limits = {"q_min": activations.q_min, "q_max": activations.q_max}
        edits: list[Edit] = []
        if plan.activations:
            edits.append(QuantizeActivations(groups=plan.activations, **limits))
        if plan.standalone:
            edits.append(QuantizeStandalone(modules=plan.standalone, **limits))
        by_grid: dict[Grid, list[str]] = {}
        for name in (*plan.weights, *plan.standalone):
            by_grid.setdefault(self._weight_grid(name, scheme), []).append(name)
        for grid, names in by_grid.items():
            edits.append(QuantizeWeights(modules=tuple(names), q_min=grid.q_min, q_max=grid.q_max))
        return edits

    def _weight_grid(self, name: str, scheme: IntegerScheme) -> Grid:
        """Return the grid of one layer's weight: the full one where the target or the recipe says so."""
        own = own_settings(name, self.layers)
        asked = own[0].weight_range if own else self.weight_range
        return signed_grid(8, symmetric=True) if "full" in (asked, scheme.weight_range) else REDUCED


def _fold(graph_module: fx.GraphModule) -> FoldBatchNorm:
    edit = FoldBatchNorm(pairs=tuple(foldable_pairs(graph_module)))
    fold(graph_module, list(edit.pairs))
    return edit


def _task(context: Context) -> Task:
    if context.task is None:
        raise DataError("linear_quantization needs images to calibrate on: give --data (a card, or 'digits')")
    return context.task


def _scheme(context: Context) -> IntegerScheme:
    if context.target.integer is None:
        raise TargetError(f"target '{context.target.name}' has no integer scheme")
    return context.target.integer
