"""How each pass changes a layer at a level: one line a pass in CHANGES."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, final

from torch import Tensor, nn

from tinyml.analysis.sensitivity.bits import FEWEST_BITS, MOST_BITS, Budget, ByteBudget, DropBudget
from tinyml.analysis.sensitivity.channel_units import channel_units
from tinyml.analysis.sensitivity.curves import Quantity
from tinyml.analysis.sensitivity.units import FoundUnits, Patterns, Unit, Values
from tinyml.errors import UsageError, did_you_mean
from tinyml.graph.capture import LeftAlone
from tinyml.graph.operations import WEIGHTED
from tinyml.layers.quantizers import WeightQuantizer
from tinyml.numerics.affine import signed_grid
from tinyml.numerics.sparsity import kept_weights, zero_count
from tinyml.passes import PASSES
from tinyml.passes.codebook_fit import fit_codebook
from tinyml.passes.layer_patterns import check_patterns
from tinyml.passes.weight_layers import WeightLayer, layer_names, weight_layers

FindUnits = Callable[[nn.Module, tuple[int, ...], Patterns], FoundUnits]


@final
@dataclass(frozen=True, kw_only=True)
class Change:
    """What a scan does in the name of a pass.

    Attributes:
        quantity: what a level is.
        levels: those scanned unless others are asked for.
        low, high: the smallest and the largest level allowed; of a sparsity both are excluded.
        units: finds what can be changed in a network (module, shape of one input, patterns).
        note: how the change stands for what the pass does.
        comes_first: whether nothing may be attached to the weights before the pass.
        sparsity: overall share to choose levels for unless another is asked for; 0 where levels are bits.
    """

    quantity: Quantity
    levels: tuple[float, ...]
    low: float
    high: float
    units: FindUnits
    note: str
    comes_first: bool = False
    sparsity: float = 0.0

    def checked(self, levels: tuple[float, ...]) -> tuple[float, ...]:
        """Return the levels to scan, the change's own where none are given.

        Raises:
            UsageError: naming all that are not allowed, or stand there twice.
        """
        wrong = [f"{level:g}" for level in levels if not self._allows(level)]
        if wrong:
            whole = f"whole numbers from {self.low:g} to {self.high:g}"
            allowed = whole if self.quantity == "bits" else "above 0 and below 1"
            raise UsageError(f"--levels: {', '.join(wrong)} {'is' if len(wrong) == 1 else 'are'} not {allowed}")
        if len(set(levels)) < len(levels):
            twice = next(level for level in levels if levels.count(level) > 1)
            raise UsageError(f"--levels: {twice:g} stands there twice")
        return levels or self.levels

    def overall(self, sparsity: float | None, levels: tuple[float, ...]) -> float | None:
        """Return the overall sparsity to choose levels for: by default the change's own; None where it has none.

        Raises:
            UsageError: The levels of this pass are no sparsities, or do not reach so far.
        """
        if not self.sparsity:
            if sparsity is None:
                return None
            names = [name for name, change in CHANGES.items() if change.sparsity]
            raise UsageError(
                f"--sparsity is for {' and '.join(names)}: leave it out, or choose bits by --budget-bytes or "
                "--budget-drop-points"
            )
        if sparsity is None:
            return min(self.sparsity, max(levels))
        if sparsity > max(levels):
            raise UsageError(
                f"--sparsity {sparsity:g} is more than every layer at the highest level, {max(levels):g}: add a higher "
                "level (--levels), or lower it"
            )
        return sparsity

    def budget(self, most_bytes: int | None, drop_points: float | None) -> Budget | None:
        """Return the budget to choose bits for; None where none is asked for.

        Raises:
            UsageError: Two are, or levels are no bits.
        """
        if most_bytes is not None and drop_points is not None:
            raise UsageError("--budget-bytes and --budget-drop-points: give one, the other is what comes of it")
        if most_bytes is None and drop_points is None:
            return None
        if self.sparsity:
            names = [name for name, change in CHANGES.items() if not change.sparsity]
            option = "--budget-drop-points" if most_bytes is None else "--budget-bytes"
            raise UsageError(f"{option} is for {' and '.join(names)}: a pruning pass takes --sparsity")
        return ByteBudget(most_bytes=most_bytes) if most_bytes else DropBudget(most_drop=(drop_points or 0) / 100)

    def _allows(self, level: float) -> bool:
        if self.quantity == "bits":
            return self.low <= level <= self.high and level == int(level)
        return self.low < level < self.high


def find_change(name: str) -> Change:
    """Return what a scan does in the name of a pass.

    Raises:
        UsageError: there is no such pass, or a scan means nothing for it.
    """
    if name in CHANGES:
        return CHANGES[name]
    if name in PASSES:
        raise UsageError(f"--pass {name} changes no layer on its own; allowed: {', '.join(CHANGES)}")
    raise UsageError(f"unknown pass '{name}'; allowed: {', '.join(CHANGES)}.{did_you_mean(name, CHANGES)}")


def _pruned_layers(module: nn.Module, _: tuple[int, ...], patterns: Patterns) -> FoundUnits:
    """Return the layers that weight_pruning prunes."""
    check_patterns((*patterns.include, *patterns.exclude), layer_names(module), of="weight_pruning")
    found, left = weight_layers(module, include=patterns.include, exclude=patterns.exclude)
    units = [
        replace(_weight_unit(name, layer.weight, _pruned), start=1 - int(layer.weight.count_nonzero()) / layer.numel)
        for name, layer in found.items()
    ]
    return FoundUnits(units=tuple(units), left_alone=tuple(left))


def _quantized_layers(module: nn.Module, _: tuple[int, ...], patterns: Patterns) -> FoundUnits:
    """Return the layers whose weights linear_quantization stores as integers."""
    check_patterns((*patterns.include, *patterns.exclude), layer_names(module), of="linear_quantization")
    found, left = weight_layers(module, include=patterns.include, exclude=patterns.exclude)
    chosen = {name: layer for name, layer in found.items() if isinstance(module.get_submodule(name), WEIGHTED)}
    kinds = {name: type(module.get_submodule(name)).__name__ for name in found if name not in chosen}
    left += [LeftAlone(module=name, reason=f"{kind} stays in float") for name, kind in kinds.items()]
    units = [_weight_unit(name, layer.weight, _quantized, _codes) for name, layer in chosen.items()]
    return FoundUnits(units=tuple(units), left_alone=tuple(left))


def _clustered_layers(module: nn.Module, _: tuple[int, ...], patterns: Patterns) -> FoundUnits:
    """Return the layers that kmeans_quantization gives a codebook."""
    check_patterns((*patterns.include, *patterns.exclude), layer_names(module), of="kmeans_quantization")
    found, left = weight_layers(module, include=patterns.include, exclude=patterns.exclude)
    changes = {name: partial(_clustered, layer) for name, layer in found.items()}
    units = [_weight_unit(name, found[name].weight, change, change) for name, change in changes.items()]
    return FoundUnits(units=tuple(units), left_alone=tuple(left))


def _weight_unit(
    layer: str,
    weight: Tensor,
    change: Callable[[Tensor, float], Tensor],
    stored: Callable[[Tensor, float], Tensor] | None = None,
) -> Unit:
    name = f"{layer}.weight".lstrip(".")  # a network may be a single layer
    own = weight.clone()  # the module's is what a scan changes
    return Unit(
        name=layer,
        tensors=(name,),
        size=weight.numel(),
        values=partial(_values, name, own, change),
        stored=None if stored is None else partial(stored, own),
    )


def _values(name: str, weight: Tensor, change: Callable[[Tensor, float], Tensor], level: float) -> Values:
    return {name: change(weight, level)}


def _pruned(weight: Tensor, sparsity: float) -> Tensor:
    """Return the weight with the share `sparsity` of zeros, as weight_pruning chooses them."""
    return weight * kept_weights(weight, zero_count(weight.numel(), sparsity))


def _quantized(weight: Tensor, bits: float) -> Tensor:
    """Return the weight on a symmetric grid of so many bits with one scale per output channel, as the pass."""
    found: Tensor = _quantizer(weight, bits)(weight).detach()
    return found


def _codes(weight: Tensor, bits: float) -> Tensor:
    """Return the int8 codes of the weight, as the pass stores them."""
    quantizer = _quantizer(weight, bits)
    quantizer.freeze(weight)
    return quantizer.codes


def _quantizer(weight: Tensor, bits: float) -> WeightQuantizer:
    """Return what linear_quantization attaches, fitted; a BatchNorm that is folded before multiplies codes by none."""
    quantizer = WeightQuantizer(signed_grid(int(bits), symmetric=True), (len(weight),), learned=False)
    quantizer.fit(weight)
    return quantizer


def _clustered(layer: WeightLayer, weight: Tensor, bits: float) -> Tensor:
    """Return the weight with at most 2^bits different values, as kmeans_quantization chooses them by default."""
    fitted = fit_codebook(replace(layer, weight=weight), bits=int(bits), groups=1)
    return fitted.values


CHANGES: Final[dict[str, Change]] = {
    "weight_pruning": Change(
        quantity="sparsity",
        levels=(0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
        low=0,
        high=1,
        units=_pruned_layers,
        note="the weights of the smallest magnitude are zero, without training",
        sparsity=0.7,
    ),
    "channel_pruning": Change(
        quantity="sparsity",
        levels=(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7),
        low=0,
        high=1,
        units=channel_units,
        note="the channels of the smallest L2 norm are zero instead of cut, which gives the same answers; no training",
        comes_first=True,
        sparsity=0.3,
    ),
    "linear_quantization": Change(
        quantity="bits",
        levels=(8, 7, 6, 5, 4, 3, 2),
        low=FEWEST_BITS["linear_quantization"],
        high=MOST_BITS,
        units=_quantized_layers,
        note="weights symmetric, one scale per output channel, as the pass fits it; activations in float, no training",
    ),
    "kmeans_quantization": Change(
        quantity="bits",
        levels=(8, 7, 6, 5, 4, 3, 2, 1),
        low=FEWEST_BITS["kmeans_quantization"],
        high=MOST_BITS,
        units=_clustered_layers,
        note="the weights of a layer share 2^bits centroids, one codebook per layer, without training",
    ),
}
