"""k-means quantization: the weights of a layer share few centroids, and the file holds indices and a codebook.

Han et al. 2016, "Deep Compression" (arXiv:1510.00149), sections 3.1-3.3. Weights that a mask has zeroed take no part:
of the 2^bits values of a codebook one is theirs, exactly zero, and stays it. What a fine_tuning that follows does with
the centroids: tinyml/layers/codebook.py. Biases and normalisation stay in float; BatchNorm is not folded into a layer
behind a codebook. By itself the file is smaller, not faster: onnxruntime looks the weights up when it loads it.
"""

import copy
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.utils import parametrize

from tinyml.architecture import ClusterWeights, CodebookShape
from tinyml.data import Task
from tinyml.errors import DataError, RecipeError, TinymlError
from tinyml.graph.capture import LeftAlone
from tinyml.importance.image_gradients import fisher_diagonal
from tinyml.layers.codebook import Codebook, Following, codebooks
from tinyml.layers.mask import masks
from tinyml.layers.quantizers import weight_quantizers
from tinyml.numerics.clustering import decode, nearest
from tinyml.numerics.clustering_starts import Start
from tinyml.passes.base import Compressed, Context, Pass, Role
from tinyml.passes.checked_settings import check_settings
from tinyml.passes.codebook_fit import FittedCodebook, fit_codebook, run_count
from tinyml.passes.layer_patterns import check_patterns, own_settings
from tinyml.passes.post_training.layer_calls import calls_in_order
from tinyml.passes.weight_layers import WeightLayer, layer_names, weight_layers

logger = logging.getLogger(__name__)

Bits = Annotated[int, Field(ge=1, le=8)]
SOFT_BITS = 3


@dataclass(frozen=True, kw_only=True)
class LayerBits:
    """What may differ from layer to layer: bits of an index, 1-8."""

    bits: Bits

    def __post_init__(self) -> None:
        """Refuse bits out of range; see `check_settings`."""
        check_settings(self)


@dataclass(frozen=True, kw_only=True)
class KmeansQuantization(Pass):
    """Give the weights of a layer at most 2^bits different values, chosen by k-means.

    Attributes:
        bits: of an index (1-8).
        outer_bits: of the first and the last layer that the network calls, which lose most and are small; null for
            those of the others.
        channels_per_codebook: null gives a layer one codebook; a number gives each run of so many output channels one
            of its own, or the most channels below it that divide the layer's. Transposed convolutions have one.
        start: where the centroids start: "optimal" is the exact optimum where a layer is small enough for it, and that
            of its quantiles where not; "density" places them as dense as the cube root of the weights' density,
            "linear" evenly from the smallest to the largest weight, "kmeans++" draws them.
        importance: "none" counts every squared error alike, "fisher" by the mean squared gradient of its weight.
        images: train images for that mean.
        training: how centroids follow a fine_tuning: "mean" of their trained members, "gradient" summed over them, or
            "soft" mixtures that harden, for 1 to 3 bits.
        reassign_every: with "mean", steps until each weight moves to its nearest centroid; 0 never moves one. 1 pays
            with few bits; seldom is worse than never: what a weight does between shows nowhere, and it drifts off.
        include, exclude: glob patterns of module names; excluded layers stay in float.
        layers: bits of the layers that a glob pattern matches, outer or not; of several, the last that matches counts.
    """

    role: ClassVar[Role] = "quantize"

    bits: Bits = 4
    outer_bits: Bits | None = None
    channels_per_codebook: Annotated[int, Field(ge=1)] | None = None
    start: Start = "optimal"
    importance: Literal["none", "fisher"] = "none"
    images: Annotated[int, Field(ge=1)] = 256
    training: Following = "mean"
    reassign_every: Annotated[int, Field(ge=0)] = 0
    include: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()
    layers: Mapping[str, LayerBits] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse settings that contradict one another."""
        super().__post_init__()
        if self.reassign_every and self.training != "mean":
            why = "moves weights at every step" if self.training == "soft" else "trains no weights that could move"
            raise RecipeError(f"training: {self.training} {why}; leave reassign_every out, or choose training: mean")
        most = max(self.bits, self.outer_bits or 0, *(own.bits for own in self.layers.values()))
        if self.training == "soft" and most > SOFT_BITS:
            raise RecipeError(
                f"training: soft is for 1 to {SOFT_BITS} bits, and bits is {most}: each weight is compared with each "
                "centroid; choose training: mean"
            )

    def requires(self, model: Compressed, context: Context) -> None:
        """Refuse codes, growing masks, patterns that match nothing, weights that are not finite, missing data."""
        if weight_quantizers(model.module) or any(True for _ in codebooks(model.module)):
            raise RecipeError("kmeans_quantization: the weights are codes already; start from the float checkpoint")
        check_patterns(
            (*self.include, *self.exclude, *self.layers), layer_names(model.module), of="kmeans_quantization"
        )
        if self.importance == "fisher":
            _ = _task(context).calibration_split  # refuses where there are no images
        candidates, left_alone = self._chosen(model.module)
        if not candidates:
            reasons = "; ".join(f"{item.module}: {item.reason}" for item in left_alone[:8])
            raise RecipeError(f"kmeans_quantization: there is no layer to quantize ({reasons or 'the model has none'})")
        for name, candidate in candidates.items():
            if not bool(torch.isfinite(candidate.weight.float()).all()):
                raise RecipeError(f"kmeans_quantization: the weights of '{name}' hold NaN or Inf; check the checkpoint")
        for name, mask in masks(model.module):
            if name in candidates and (fault := mask.fault(candidates[name].weight)):
                raise RecipeError(f"kmeans_quantization: '{name}' is still being pruned ({fault}); train it before")

    def apply(self, model: Compressed, context: Context) -> Compressed:
        """Return the model with codebooks attached."""
        candidates, left_alone = self._chosen(model.module)
        importances = self._importances(model.module, candidates, context)
        bits, fitted = self._bits(model, candidates), dict[str, FittedCodebook]()
        for name in context.progress.track(candidates, label="clustering", total=len(candidates)):
            fitted[name] = fit_codebook(
                candidates[name],
                bits=bits[name],
                groups=run_count(candidates[name], self.channels_per_codebook),
                start=self.start,
                importance=importances.get(name),
                seed=context.seed,
            )
        edit = ClusterWeights(
            modules={name: _shape(each) for name, each in fitted.items()},
            training=self.training,
            reassign_every=self.reassign_every,
        )
        after = edit.apply(model.copy().module)
        for name, codebook in codebooks(after):
            codebook.fit(fitted[name].centroids, fitted[name].indices)
        weights = sum(candidate.numel for candidate in candidates.values())
        context.record({"event": "codebooks", "layers": len(fitted), "weights": weights})
        if fewer := [f"{name} {each.fewest}" for name, each in fitted.items() if each.fewest < 2 ** bits[name]]:
            said = ", ".join(fewer)
            logger.warning("fewer centroids than 2^bits, as many as there are different weights: %s", said)
            context.record({"event": "fewer centroids", "as many as different weights": said})
        return model.edited(after, [edit], left_alone)

    def ensures(self, before: Compressed, after: Compressed) -> None:
        """Check the number of values, that masked weights are zero, and that every other has its nearest centroid."""
        attached = dict(codebooks(after.module))
        bits = self._bits(before, attached)
        for name, codebook in attached.items():
            earlier, now = (model.module.get_submodule(name).weight for model in (before, after))
            assert isinstance(earlier, Tensor)
            assert isinstance(now, Tensor)
            ordered = now.detach().reshape(codebook.groups, -1).sort(dim=1).values
            most = 1 + int((ordered.diff() != 0).sum(dim=1).max())
            if most > 2 ** bits[name]:
                raise TinymlError(f"kmeans_quantization: '{name}' has {most} values; {2 ** bits[name]} are promised")
            if fault := codebook.fault(now) or _misplaced(codebook, earlier, now):
                raise TinymlError(f"kmeans_quantization: {name}: {fault}")

    def _bits(self, model: Compressed, names: Iterable[str]) -> dict[str, int]:
        """Return the bits of each of the layers."""
        bits = dict.fromkeys(names, self.bits)
        if self.outer_bits is not None:
            called = list(calls_in_order(model.module, bits, torch.zeros(1, *model.architecture.input_shape)))
            bits |= dict.fromkeys((*called[:1], *called[-1:]), self.outer_bits)
        own = {name: settings[0].bits for name in bits if (settings := own_settings(name, self.layers))}
        return bits | own

    def _chosen(self, module: nn.Module) -> tuple[dict[str, WeightLayer], list[LeftAlone]]:
        return weight_layers(module, include=self.include, exclude=self.exclude)

    def _importances(
        self, module: nn.Module, candidates: Mapping[str, WeightLayer], context: Context
    ) -> dict[str, Tensor]:
        """Return the weights of squared errors by layer, where the recipe asks for other than equal ones."""
        if self.importance == "none":
            return {}
        own = copy.deepcopy(module).to(context.device)
        found = fisher_diagonal(
            own,
            {name: _trained_weight(own.get_submodule(name)) for name in candidates},
            _task(context),
            images=self.images,
            seed=context.seed,
            progress=context.progress,
        )
        return {name: importance.cpu() for name, importance in found.items()}


def _trained_weight(layer: nn.Module) -> nn.Parameter:
    """Return the parameter that the layer's weight is made of."""
    masked = parametrize.is_parametrized(layer, "weight")
    return layer.get_parameter("parametrizations.weight.original" if masked else "weight")


def _shape(fitted: FittedCodebook) -> CodebookShape:
    groups, centroids = fitted.centroids.shape
    return CodebookShape(groups=groups, centroids=centroids, keeps_zeros=fitted.keeps_zeros)


def _misplaced(codebook: Codebook, earlier: Tensor, now: Tensor) -> str:
    """Return how many weights have not their nearest centroid, or "" where all have."""
    best = decode(nearest(earlier, codebook.centroids), codebook.centroids)
    farther = (now - earlier).abs() > (best - earlier).abs()
    count = int((farther & (codebook.indices >= int(codebook.keeps_zeros))).count_nonzero())
    return f"{count} weights are not at their nearest centroid" if count else ""


def _task(context: Context) -> Task:
    if context.task is None:
        raise DataError("kmeans_quantization: importance fisher needs images: give --data (a card, or 'digits')")
    return context.task
