"""Places for early exits, from where the network has made up its mind.

If each example left at the first exit that is not before its prediction depth, exits e_1 < ... < e_n would save

    sum_i (s(e_i) - s(e_(i-1))) (1 - m(e_i))        s(e_0) = 0

of the network's MACs: s is the share of examples whose depth an exit has reached, m the share of MACs up to it. Places
are ranked by it one after another: the best one alone, then always the one that saves most together with those before.
It is a guide: a trained head is not a neighbour vote, and its own cost is not in the sum.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray
from torch import fx

from tinyml.analysis.difficulty.places import Place
from tinyml.graph.cut_points import find_cut_points


@final
@dataclass(frozen=True, kw_only=True)
class ExitPlace:
    """A place where an exit can be attached.

    Attributes:
        name: as early_exit takes it.
        probe: index of the last probe at or before it.
        decided: share (0-1) of examples whose prediction depth is not behind it.
        macs: share (0-1) of the network's MACs up to it.
    """

    name: str
    probe: int
    decided: float
    macs: float


def exit_places(
    graph: fx.GraphModule, input_shape: tuple[int, ...], places: Sequence[Place], depths: NDArray[np.int64]
) -> tuple[ExitPlace, ...]:
    """Return all places for exits, in the order of the network.

    Args:
        graph: the traced network, with one output.
        input_shape: of one input without the batch.
        places: of the probes, in the same graph.
        depths: (N,) of the examples to count.
    """
    order = {node.name: index for index, node in enumerate(graph.graph.nodes)}
    found = []
    for cut in find_cut_points(graph, input_shape):
        probe = max(index for index, place in enumerate(places) if place.order <= order[cut.node])
        decided = float(np.mean(depths <= probe))
        found.append(ExitPlace(name=cut.name, probe=probe, decided=decided, macs=cut.share))
    return tuple(found)


def ranked_exits(places: Sequence[ExitPlace]) -> tuple[ExitPlace, ...]:
    """Return the places, the best first; of equal ones the earlier."""
    ranked: list[ExitPlace] = []
    left = list(places)
    while left:
        best = max(left, key=lambda place: macs_saved([*ranked, place]))
        ranked.append(best)
        left.remove(best)
    return tuple(ranked)


def macs_saved(exits: Sequence[ExitPlace]) -> float:
    """Return the share (0-1) of MACs that the exits would save if each example left as soon as it could."""
    in_order = sorted(exits, key=lambda place: place.macs)
    before = [0.0, *(place.decided for place in in_order)]
    return sum((place.decided - share) * (1 - place.macs) for place, share in zip(in_order, before, strict=False))
