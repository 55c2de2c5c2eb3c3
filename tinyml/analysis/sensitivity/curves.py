"""What a scan found: the score of the whole network with one layer changed at a time, level by level."""

from collections.abc import Mapping
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
    """

    name: str
    size: int
    levels: tuple[float, ...]
    scores: tuple[float, ...]
    start: float = 0.0

    @property
    def lowest(self) -> float:
        """The lowest score of the curve."""
        return min(self.scores)


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

    def to_json(self) -> dict[str, JsonValue]:
        """Return the facts as they are written to sensitivity.json."""
        facts: dict[str, JsonValue] = TypeAdapter(dict[str, JsonValue]).validate_python(_lists(asdict(self)))
        return facts

    @classmethod
    def from_json(cls, facts: Mapping[str, JsonValue]) -> "Sensitivity":
        """Return what `to_json` wrote."""
        return TypeAdapter(Sensitivity).validate_python(facts)


def level_text(level: float, quantity: Quantity) -> str:
    """Return "70 %" of a sparsity, "72.5 %" where there is more to say, "4 bit" of bits."""
    return f"{level:.0f} bit" if quantity == "bits" else f"{round(100 * level, 2):g} %"


def _lists(value: object) -> object:
    """Return the value with lists for tuples, as JSON has them."""
    if isinstance(value, dict):
        return {key: _lists(entry) for key, entry in value.items()}
    return [_lists(entry) for entry in value] if isinstance(value, list | tuple) else value
