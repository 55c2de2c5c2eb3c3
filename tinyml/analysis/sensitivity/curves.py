"""What a scan found: the score of the whole network with one layer changed at a time, level by level."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal, final

from pydantic import JsonValue, TypeAdapter

from tinyml.graph.capture import LeftAlone

Quantity = Literal["sparsity", "bits"]


@final
@dataclass(frozen=True, kw_only=True)
class LayerCurve:
    """The score of the network while one layer, or one group of channels, is changed, all else as it is.

    Attributes:
        name: of the layer, or of the first layer of the group.
        size: number of weights, or of channels, that the level speaks of.
        levels: how strongly it was changed, in the order of the scan.
        scores: of the network (0-1), one a level.
        start: level at which the layer is already, by an earlier pass; 0 where it is as it was trained.
        divergences: mean distance of the network's outputs from its unchanged ones, one a level; see `evidence`.
        stored_bytes: what the file stores of the layer's weight, one a level; empty where no budget asked for it.
        constants: which of the constants that decoders share the layer's decoder reads, for each level.
    """

    name: str
    size: int
    levels: tuple[float, ...]
    scores: tuple[float, ...]
    start: float = 0.0
    divergences: tuple[float, ...] = ()
    stored_bytes: tuple[int, ...] = ()
    constants: tuple[tuple[int, ...], ...] = ()

    @property
    def lowest(self) -> float:
        """The lowest score of the curve."""
        return min(self.scores)


@final
@dataclass(frozen=True, kw_only=True)
class FileBytes:
    """Bytes of the exported file beside those of the scanned weights.

    Attributes:
        target: what the file is made for.
        rest: of everything that is there whatever the levels.
        constants: of each constant that decoders share, which is there once, as soon as one of them reads it.
    """

    target: str
    rest: int
    constants: tuple[int, ...]


@final
@dataclass(frozen=True, kw_only=True)
class Sensitivity:
    """All curves of a network.

    Attributes:
        model: zoo name or 'package.module:factory'.
        pass_name: the pass that the levels are of.
        quantity: what a level is: the share of zeros (0-1), or the bits of a weight.
        score: what was measured: "accuracy" or "AUC".
        unchanged: that score (0-1) of the network as it is.
        n: examples that each score is of.
        data: where they come from; never the test split.
        curves: in the order of the network's modules.
        left_alone: what was not scanned, and why.
        notes: what else a reader has to know.
        file: where a budget of bits was asked for.
    """

    model: str
    pass_name: str
    quantity: Quantity
    score: str
    unchanged: float
    n: int
    data: str
    curves: tuple[LayerCurve, ...]
    left_alone: tuple[LeftAlone, ...] = ()
    notes: tuple[str, ...] = ()
    file: FileBytes | None = None

    def to_json(self) -> dict[str, JsonValue]:
        """Return the facts as they are written to sensitivity.json."""
        facts: dict[str, JsonValue] = TypeAdapter(dict[str, JsonValue]).validate_python(_lists(asdict(self)))
        return facts

    @classmethod
    def from_json(cls, facts: Mapping[str, JsonValue]) -> "Sensitivity":
        """Return what `to_json` wrote."""
        return TypeAdapter(Sensitivity).validate_python(facts)


def size_of(curves: Sequence[LayerCurve], file: FileBytes, choice: Sequence[int]) -> int:
    """Return the bytes of the file in which each layer has the level of that index."""
    pairs = list(zip(curves, choice, strict=True))
    read = {constant for curve, level in pairs for constant in curve.constants[level]}
    stored = sum(curve.stored_bytes[level] for curve, level in pairs)
    return file.rest + stored + sum(file.constants[constant] for constant in read)


def level_text(level: float, quantity: Quantity) -> str:
    """Return "70 %" of a sparsity, "72.5 %" where there is more to say, "4 bit" of bits."""
    return f"{level:.0f} bit" if quantity == "bits" else f"{round(100 * level, 2):g} %"


def _lists(value: object) -> object:
    """Return the value with lists for tuples, as JSON has them."""
    if isinstance(value, dict):
        return {key: _lists(entry) for key, entry in value.items()}
    return [_lists(entry) for entry in value] if isinstance(value, list | tuple) else value
