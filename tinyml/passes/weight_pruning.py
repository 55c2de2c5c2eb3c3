"""Fine-grained pruning: single weights of the smallest magnitude become zero, and a mask keeps them zero from then on.

How many and which: tinyml/numerics/sparsity.py. The counts of a global threshold are those of the weights before any
training; on a cubic ramp every layer then goes to its own count. Nothing is excluded unless the recipe says so: under a
global threshold small, important layers (depthwise, first, last) keep more of their weights by themselves. Magnitudes:
Han et al. 2015, "Learning both Weights and Connections for Efficient Neural Networks" (arXiv:1506.02626).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import BeforeValidator, Field
from torch import Tensor, nn

from tinyml.architecture import MaskWeights
from tinyml.errors import RecipeError, TinymlError
from tinyml.graph.capture import LeftAlone
from tinyml.layers.mask import Structure, masks
from tinyml.layers.quantizers import weight_quantizers
from tinyml.numerics.sparsity import NOfM, global_zeros, n_of_m_zeros, zero_count
from tinyml.passes.base import Compressed, Context, Pass, Role
from tinyml.passes.layer_patterns import LayerSparsity, Sparsity, check_patterns, own_settings
from tinyml.passes.weight_layers import WeightLayer, layer_names, weight_layers

Written = Structure | Annotated[str, Field(pattern=r"^[0-9]+:[0-9]+$")]


def _spelled_out(value: object) -> object:
    """Return what "2:4" stands for."""
    keep, colon, of = value.partition(":") if isinstance(value, str) else ("", "", "")
    return {"keep": int(keep), "of": int(of)} if colon and keep.isdecimal() and of.isdecimal() else value


@dataclass(frozen=True, kw_only=True)
class WeightPruning(Pass):
    """Set weights of the smallest magnitude to zero, and keep them zero.

    What an earlier pass has pruned stays pruned: fewer zeros of a layer are refused, and N:M counts those that are
    there, so that a group may have more than M-N.

    Attributes:
        sparsity: share (0-1, not 1) of the weights that become zero; of N:M it is 1 - N/M.
        scope: "global" compares the weights of all layers with one threshold, and leaves every layer at least as many
            weights as it has output channels; "uniform" gives every layer the same sparsity. N:M gives every layer
            the same, whatever the scope.
        structure: "unstructured", or N:M such as "2:4": of every M weights along the input channels N are kept.
        schedule: "one-shot" prunes now; "cubic" lets the fine_tuning that follows prune step by step.
        ramp: share (0-1) of that training after which a cubic schedule has reached its end; one-shot has no use
            for it.
        include, exclude: glob patterns of module names; excluded layers stay dense.
        layers: sparsity of the layers that a glob pattern matches, which the scope then leaves out; of several patterns
            the last that matches counts.
    """

    role: ClassVar[Role] = "prune"

    sparsity: Sparsity = 0.5
    scope: Literal["uniform", "global"] = "global"
    structure: Annotated[Structure, BeforeValidator(_spelled_out, json_schema_input_type=Written)] = "unstructured"
    schedule: Literal["one-shot", "cubic"] = "one-shot"
    ramp: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = 0.75
    include: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()
    layers: Mapping[str, LayerSparsity] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse sparsities that the structure contradicts."""
        super().__post_init__()
        if self.structure == "unstructured":
            return
        if self.layers:
            raise RecipeError(f"structure {self.structure} has one sparsity everywhere; leave 'layers' out")
        if not math.isclose(self.sparsity, self.structure.sparsity, rel_tol=1e-3):  # 0.667 stands for 2/3
            raise RecipeError(
                f"structure {self.structure} zeroes {self.structure.sparsity:g} of the weights, not {self.sparsity:g}; "
                f"write sparsity: {self.structure.sparsity:g}"
            )

    def requires(self, model: Compressed, context: Context) -> None:
        """Refuse codes, patterns that match nothing, weights that are not finite, layers left without a weight."""
        if weight_quantizers(model.module):
            raise RecipeError("weight_pruning: the weights are codes already; start from the float checkpoint")
        patterns = (*self.include, *self.exclude, *self.layers)
        check_patterns(patterns, layer_names(model.module), of="weight_pruning")
        candidates, left_alone = self._chosen(model.module)
        if not candidates:
            reasons = "; ".join(f"{item.module}: {item.reason}" for item in left_alone[:8])
            raise RecipeError(f"weight_pruning: there is no layer to prune ({reasons or 'the model has none'})")
        for name, candidate in candidates.items():
            if not bool(torch.isfinite(candidate.weight).all()):
                raise RecipeError(f"weight_pruning: the weights of '{name}' hold NaN or Inf; check the checkpoint")
        self._check_room(candidates)
        self._check_earlier(candidates)

    def apply(self, model: Compressed, context: Context) -> Compressed:
        """Return the model with masks attached."""
        candidates, left_alone = self._chosen(model.module)
        zeros = self._zeros(candidates)
        ramp = self.ramp if self.schedule == "cubic" else 0.0
        edit = MaskWeights(modules=tuple(candidates), structure=self.structure, ramp=ramp)
        after = edit.apply(model.copy().module)
        for name, mask in masks(after):
            if name in candidates:
                mask.aim(candidates[name].weight, start=candidates[name].pruned, zeros=zeros[name])
        weights = sum(candidate.numel for candidate in candidates.values())
        context.record({"event": "weights to zero", "zeros": sum(zeros.values()), "of": weights})
        return model.edited(after, [edit], left_alone)

    def ensures(self, before: Compressed, after: Compressed) -> None:
        """Check the number of zeros, and that every other weight is what it was."""
        pruned = after.architecture.edits[-1]
        assert isinstance(pruned, MaskWeights)
        for name, mask in masks(after.module):
            if name not in pruned.modules:
                continue
            earlier, now = (model.module.get_submodule(name).weight for model in (before, after))
            assert isinstance(earlier, Tensor)
            assert isinstance(now, Tensor)
            if self.schedule == "one-shot" and (fault := mask.fault(now)):
                raise TinymlError(f"weight_pruning: {name}: {fault}")
            if not torch.equal(now, torch.where(mask.mask, earlier, 0.0)):
                raise TinymlError(f"weight_pruning: weights of '{name}' changed that were to be kept")

    def _chosen(self, module: nn.Module) -> tuple[dict[str, WeightLayer], list[LeftAlone]]:
        return weight_layers(module, include=self.include, exclude=self.exclude, structure=self.structure)

    def _own_zeros(self, candidates: Mapping[str, WeightLayer]) -> dict[str, int]:
        """Return the zeros of the layers whose number does not depend on the others."""
        zeros = {}
        for name, candidate in candidates.items():
            own = own_settings(name, self.layers)
            if isinstance(self.structure, NOfM):
                zeros[name] = n_of_m_zeros(candidate.kept, self.structure, axis=candidate.input_axis)
            elif own or self.scope == "uniform":
                zeros[name] = zero_count(candidate.numel, own[0].sparsity if own else self.sparsity)
        return zeros

    def _zeros(self, candidates: Mapping[str, WeightLayer]) -> dict[str, int]:
        """Return the number of zeros of each layer."""
        zeros = self._own_zeros(candidates)
        rest = {name: candidate for name, candidate in candidates.items() if name not in zeros}
        weights, most = [each.weight for each in rest.values()], [each.most for each in rest.values()]
        return {**zeros, **dict(zip(rest, global_zeros(weights, self._shared(rest), most=most), strict=True))}

    def _shared(self, candidates: Mapping[str, WeightLayer]) -> int:
        """Return the zeros that layers share under one threshold."""
        return zero_count(sum(each.numel for each in candidates.values()), self.sparsity)

    def _check_earlier(self, candidates: Mapping[str, WeightLayer]) -> None:
        """Refuse what would bring back weights that an earlier pass has set to zero."""
        pruned = {name: count for name, candidate in candidates.items() if (count := candidate.pruned)}
        zeros = self._zeros(candidates) if pruned else {}
        for name, count in pruned.items():
            if zeros[name] < count:
                raise RecipeError(
                    f"weight_pruning: '{name}' has {count} zeros already, and this sparsity gives it {zeros[name]}; "
                    "pruning again takes a higher sparsity"
                )

    def _check_room(self, candidates: Mapping[str, WeightLayer]) -> None:
        """Refuse what would leave a layer without a weight."""
        zeros = self._own_zeros(candidates)
        if empty := [name for name, count in zeros.items() if count == candidates[name].numel]:
            raise RecipeError(
                f"weight_pruning: no weight would be left in {', '.join(empty)}: lower sparsity, or exclude them"
            )
        rest = {name: candidate for name, candidate in candidates.items() if name not in zeros}
        most = sum(each.most for each in rest.values())
        if self._shared(rest) > most:
            total = sum(each.numel for each in rest.values())
            raise RecipeError(
                f"weight_pruning: sparsity {self.sparsity:g} would leave a layer fewer weights than it has output "
                f"channels; with scope global at most {int(1e4 * most / total) / 1e4:g} is possible here"
            )
