"""Linear quantization: BatchNorm folded, weights of 2 to 8 bits, activations calibrated on training images.

Weights are symmetric with one scale per output channel unless the recipe says otherwise, activations have one scale and
zero point per value (asymmetric, or symmetric where the target asks). Source: Krishnamoorthi 2018, "Quantizing deep
convolutional networks for efficient inference"; placement of the quantizers: tinyml/graph/quantization_points.py. A
fine_tuning behind this pass trains weights and scales with the rounding in place.

What runs how, in onnxruntime:

    8-bit activations           integer kernels; weights of 2 to 8 bits are int8 codes there
    4- to 7-bit activations     the same kernels; a Clip of the codes behind each of them keeps the grid
    weights as INT4             float kernels, where the target asks for it (`weight_storage`); decoded on every run
    16-bit activations          float kernels between quantizers: there are no others
    weights_only                float kernels; the weights are decoded once, when the file is loaded
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, final

import torch
from torch import Tensor, nn

from tinyml.architecture import (
    CaptureGraph,
    Edit,
    FoldBatchNorm,
    QuantizeActivations,
    QuantizeStandalone,
    QuantizeWeights,
)
from tinyml.data import Task
from tinyml.data.selection import read_selection
from tinyml.errors import DataError, RecipeError, TinymlError
from tinyml.graph.capture import Capture, LeftAlone, capture, propagate_shapes
from tinyml.graph.fold import foldable_pairs
from tinyml.graph.operations import WEIGHTED
from tinyml.graph.quantization_points import Plan, plan_graph, plan_modules
from tinyml.layers.attachment import attachment_faults, is_computed
from tinyml.layers.channel_scale import channel_scale
from tinyml.layers.codebook import Codebook
from tinyml.layers.integer_layers import snap_biases, widen_for_biases
from tinyml.layers.quantizers import scale_faults, weight_quantizers
from tinyml.numerics.affine import Grid, signed_grid
from tinyml.passes.base import Compressed, Context
from tinyml.passes.calibration import calibrate
from tinyml.passes.integer_settings import Calibration, IntegerSettings, LayerSettings, integer_scheme
from tinyml.passes.layer_patterns import check_patterns, why_left_out
from tinyml.passes.post_training.layer_calls import calls_in_order
from tinyml.passes.post_training.recorded import equalize_layers, learn_roundings, shift_biases
from tinyml.target import Target

__all__ = ["Calibration", "LayerSettings", "LinearQuantization"]

INT4: Final = signed_grid(4, symmetric=False)


@final
@dataclass(frozen=True, kw_only=True)
class LinearQuantization(IntegerSettings):
    """Quantize weights and activations to integers; its settings are those of IntegerSettings."""

    def requires(self, model: Compressed, context: Context) -> None:
        """Refuse what the target lacks, a quantized model, missing data, patterns that match nothing."""
        if not self.weights_only:
            self.check_target(context.target)
        if self._needs_images:
            split = _task(context).calibration_split  # refuses where there is nothing to calibrate on
            if self.calibration.indices is not None:
                read_selection(self.calibration.indices, split)  # refuses a file of other data
        if weight_quantizers(model.module):
            raise RecipeError("linear_quantization: the model is already quantized; start from its float checkpoint")
        layers = {name: module for name, module in model.module.named_modules() if isinstance(module, WEIGHTED)}
        names = list(layers)
        check_patterns((*self.include, *self.exclude, *self.layers), names, of="linear_quantization")
        if not names:
            kinds = ", ".join(each.__name__ for each in WEIGHTED)
            raise RecipeError(f"linear_quantization: there is no layer to quantize: the model has no {kinds}")
        if len(self._excluded(model.module)) == len(names):
            raise RecipeError("linear_quantization: include and exclude leave no layer to quantize; widen one of them")
        for name, layer in layers.items():
            if not bool(torch.isfinite(layer.weight).all()):
                raise RecipeError(f"linear_quantization: the weights of '{name}' hold NaN or Inf; check the checkpoint")

    def apply(self, model: Compressed, context: Context) -> Compressed:
        """Return the quantized model, calibrated."""
        inputs = self._inputs(model, context)
        model = model.copy()
        captured = capture(model.module)
        module = captured.module.to(context.device)
        edits: list[Edit] = [CaptureGraph()]
        if captured.graph_module is not None:
            propagate_shapes(captured.graph_module, inputs[:1])
            folding = FoldBatchNorm(pairs=tuple(foldable_pairs(captured.graph_module)))
            module = folding.apply(module)
            edits.append(folding)
        if self.equalize:
            equalize_layers(captured, inputs[:1], context)
        reference = copy.deepcopy(module)
        plan = self._plan(captured, inputs[:1])
        attach = self._attachments(plan, context.target, self._outer_layers(captured.module, plan, inputs[:1]))
        for edit in attach:
            module = edit.apply(module)
        module = module.to(context.device).eval()
        _fit(module)
        if not self.weights_only:
            self._calibrate(module, inputs, context)
        self._improve(module, reference.eval(), inputs, context)
        return model.edited(
            module, [*edits, *attach], (*plan.left_alone, *self._in_float(plan, attach, context.target))
        )

    def ensures(self, before: Compressed, after: Compressed) -> None:
        """Check that every scale is finite and positive and every weight lies on its grid."""
        if faults := [*attachment_faults(after.module), *scale_faults(after.module)]:
            raise TinymlError("linear_quantization: " + "; ".join(faults))

    def _inputs(self, model: Compressed, context: Context) -> Tensor:
        """Return the images to calibrate on (N, ...); without a need for them, one of zeros."""
        if not self._needs_images:
            return torch.zeros(1, *model.architecture.input_shape, device=context.device)
        if self.calibration.indices is None:
            return _images(self.calibration.images, context)
        task = _task(context)
        rows = read_selection(self.calibration.indices, task.calibration_split)
        return torch.from_numpy(task.inputs(task.calibration_split.x[rows])).to(context.device)

    def _calibrate(self, module: nn.Module, inputs: Tensor, context: Context) -> None:
        """Choose the ranges of the activations."""
        scheme = integer_scheme(context.target)
        unseen = calibrate(
            module,
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

    @property
    def _needs_images(self) -> bool:
        return not self.weights_only or self.bias_correction or self.rounding == "adaround"

    def _improve(self, module: nn.Module, reference: nn.Module, inputs: Tensor, context: Context) -> None:
        """Bring the module nearer to the float reference, then put biases on the grid that the file stores them on."""
        if self.rounding == "adaround":
            learn_roundings(module, reference, _images(self.adaround.images, context), self.adaround, context)
        if self.bias_correction:
            shift_biases(module, reference, inputs, context)
        if not self.weights_only and integer_scheme(context.target).biases == "int32":
            widen_for_biases(module)
            snap_biases(module)

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

    def _plan(self, captured: Capture, example: Tensor) -> Plan:
        """Return one plan for the graph and for every module that stayed opaque."""
        reasons = self._excluded(captured.module)
        excluded = frozenset(reasons)
        left = tuple(LeftAlone(module=name, reason=reason) for name, reason in reasons.items())
        if self.weights_only:
            plan = plan_modules(captured.module, example, excluded, within="")
            return Plan(weights=plan.standalone, left_alone=(*left, *plan.left_alone))
        inside = [plan_modules(captured.module, example, excluded, within=item.module) for item in captured.opaque]
        graph_module = captured.graph_module
        plan = Plan() if graph_module is None else plan_graph(graph_module, example, excluded)
        return Plan(
            activations=plan.activations,
            weights=plan.weights,
            standalone=tuple(name for part in inside for name in part.standalone),
            left_alone=(
                *captured.opaque,
                *left,
                *plan.left_alone,
                *(item for part in inside for item in part.left_alone),
            ),
        )

    def _outer_layers(self, module: nn.Module, plan: Plan, example: Tensor) -> tuple[str, ...]:
        """Return the first and the last of the quantized layers that the network calls, where the recipe asks."""
        if self.outer_bits is None:
            return ()
        called = tuple(calls_in_order(module, (*plan.weights, *plan.standalone), example))
        return (*called[:1], *called[-1:])

    def _attachments(self, plan: Plan, target: Target, outer: tuple[str, ...]) -> list[Edit]:
        """Return the edits that attach quantizers; `outer` are the names of the outer layers."""
        edits: list[Edit] = []
        if plan.activations or plan.standalone:
            grid = self.activation_grid(target)
            if plan.activations:
                edits.append(QuantizeActivations(groups=plan.activations, q_min=grid.q_min, q_max=grid.q_max))
            if plan.standalone:
                edits.append(QuantizeStandalone(modules=plan.standalone, q_min=grid.q_min, q_max=grid.q_max))
        by_grid: dict[Grid, list[str]] = {}
        for name in (*plan.weights, *plan.standalone):
            by_grid.setdefault(self.weight_grid(name, target, outer=name in outer), []).append(name)
        for grid, names in by_grid.items():
            edits.append(
                QuantizeWeights(
                    modules=tuple(names),
                    q_min=grid.q_min,
                    q_max=grid.q_max,
                    granularity=self.granularity,
                    group_size=self.group_size,
                    symmetric=self.weight_scheme == "symmetric",
                )
            )
        return edits

    def _in_float(self, plan: Plan, attached: Sequence[Edit], target: Target) -> list[LeftAlone]:
        """Return the layers that float kernels run although their weights are quantized."""
        four_bits = {
            name
            for edit in attached
            if isinstance(edit, QuantizeWeights) and edit.q_min >= INT4.q_min and edit.q_max <= INT4.q_max
            for name in edit.modules
        }
        int4 = four_bits if target.weight_storage == "int4" else set()
        return [
            LeftAlone(module=name, reason=reason)
            for name in (*plan.weights, *plan.standalone)
            if (reason := self._why_in_float(target, int4=name in int4))
        ]

    def _why_in_float(self, target: Target, *, int4: bool) -> str:
        """Return why float kernels run a layer, and what becomes of its weight; "" where integer kernels do."""
        if self.weights_only and int4:
            return "quantized weights, run in float: INT4 is decoded on every run (weights_only)"
        if self.weights_only:
            return "quantized weights, run in float: they are decoded when the file is loaded (weights_only)"
        if self.activation_bits == 16:
            return "quantized weights, run in float between quantizers: there is no kernel for 16-bit activations"
        if int4 and target.provider == "CPUExecutionProvider":
            return (
                "quantized weights, run in float between quantizers, INT4 decoded on every run: onnxruntime has no "
                "integer kernel for INT4; choose weight_storage: packed in the target"
            )
        return ""


def _fit(module: nn.Module) -> None:
    """Choose the scales of every weight; behind a codebook one step for each codebook."""
    for name, (quantizer, weight) in weight_quantizers(module).items():
        layer = module.get_submodule(name)
        codebook = next((each for each in layer.modules() if isinstance(each, Codebook)), None)
        if codebook is None:
            quantizer.fit(weight)
        else:
            scale = channel_scale(layer)
            factor = torch.ones(len(weight), device=weight.device) if scale is None else scale.factor
            quantizer.fit(weight, factor=factor, groups=codebook.groups)


def _images(count: int, context: Context) -> Tensor:
    return torch.from_numpy(_task(context).calibration_inputs(count, context.seed)).to(context.device)


def _task(context: Context) -> Task:
    if context.task is None:
        raise DataError("linear_quantization needs images to calibrate on: give --data (a card, or 'digits')")
    return context.task
