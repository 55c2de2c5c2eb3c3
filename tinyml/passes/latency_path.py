"""Which channels go first where time is what counts: a path of counts, each faster than the one before.

A step takes one group down to its next smaller count at which the table of measured latencies really falls (runtimes
work on blocks of 8 or 16 channels: between them nothing is won). Of all groups that one takes it which buys

    gain / loss        gain in ms of the layers that it touches, loss by the scope, k the channels that stay:

    uniform   loss = layers * (S / S(k after) - S / S(k before))     layers: that make or read the channels
    global    loss = S(k before) - S(k after)                        scores of all groups compare as they are

with S(k) the sum of the k best scores of the group and S that of all. The reciprocal keeps a group from paying alone:
the less of it is left, the dearer its next step, and two layers that feed each other lose alike (their time goes with
the product of their channels, so that a logarithm would not care which of the two is cut).

The search of a goal by a table of latencies, layer by layer, is that of NetAdapt (Yang et al. 2018, arXiv:1804.03230);
importance takes the place of its short trainings.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, final

import torch
from torch import Tensor, nn

from tinyml.graph.channel_groups import ChannelGroup
from tinyml.measure.latency_table import LatencyTable
from tinyml.measure.layer_shapes import LayerShape, observed_layers
from tinyml.passes.channel_counts import Allotment, Counts
from tinyml.progress import Progress

_LEVELS: Final = 16  # counts of one group that are tried: a step is a sixteenth of its channels, or the multiple
_REAL: Final = 0.02  # a fall of the touched layers' time by this share is no noise
_LEAST_LOSS: Final = 1e-9  # of channels that score nothing


@final
class CountedLayers:
    """The layers of a network as they are with some counts of channels.

    Attributes:
        calls: name and shape of every layer that works on an input, uncut.
        touched: by the name of a group, which of the calls its channels belong to.
    """

    def __init__(self, module: nn.Module, input_shape: tuple[int, ...], groups: Sequence[ChannelGroup]) -> None:
        self.calls = observed_layers(module, input_shape)
        self._parts: dict[str, list[tuple[ChannelGroup, int, int]]] = {}
        for group in groups:
            for (name, dimension), width in _widths(group).items():
                self._parts.setdefault(name, []).append((group, dimension, width))
        self.touched: Mapping[str, tuple[int, ...]] = {
            group.name: tuple(
                index
                for index, (name, _) in enumerate(self.calls)
                if any(other is group for other, _, _ in self._parts.get(name, ()))
            )
            for group in groups
        }

    def shapes(self, counts: Counts, calls: Sequence[int] | None = None) -> list[LayerShape]:
        """Return the layers' shapes with these counts; of some calls only, by their number."""
        return [self._shape(index, counts) for index in (range(len(self.calls)) if calls is None else calls)]

    def _shape(self, index: int, counts: Counts) -> LayerShape:
        name, shape = self.calls[index]
        weight = list(shape.weight)
        for group, dimension, width in self._parts.get(name, ()):
            weight[dimension] -= (group.channels - counts[group.name]) * width
        return shape.resized(tuple(weight))


@final
@dataclass(frozen=True, kw_only=True)
class Stop:
    """A place on the path: counts, and the share of the network's latency that the table says they take."""

    counts: Counts
    predicted: float


@final
class LatencyPath:
    """Counts of ever smaller predicted latency; the path is found as far as it is asked for.

    Attributes:
        stops: as far as the path is found; the first one has every channel, but of groups with a sparsity of their own.
    """

    def __init__(self, layers: CountedLayers, allotment: Allotment, table: LatencyTable, progress: Progress) -> None:
        self._layers, self._allotment, self._table, self._progress = layers, allotment, table, progress
        self._kept = {name: _kept_scores(scores) for name, scores in allotment.scores.items()}
        self._whole_ms = self._ms({group.name: group.channels for group in allotment.groups})
        first = allotment.counts(0.0)
        self.stops = [Stop(counts=first, predicted=self._ms(first) / self._whole_ms)]

    def reach(self, share: float) -> int:
        """Return the number of the first stop of at most this predicted share, of the last one where there is none."""
        while self.stops[-1].predicted > share and self._extend():
            pass
        last = len(self.stops) - 1
        return next((number for number, stop in enumerate(self.stops) if stop.predicted <= share), last)

    def predicted(self, number: int) -> float:
        """Return the predicted share of a stop that was reached."""
        return self.stops[number].predicted

    def layers_ms(self, number: int) -> dict[str, tuple[float, float]]:
        """Return by the name of a layer what the table says of it: uncut, and at a stop."""
        times: dict[str, tuple[float, float]] = {}
        for (name, whole), cut in zip(self._layers.calls, self._layers.shapes(self.stops[number].counts), strict=True):
            before, after = times.get(name, (0.0, 0.0))
            times[name] = before + self._table.latency_ms([whole]), after + self._table.latency_ms([cut])
        return times

    def _extend(self) -> bool:
        """Add a stop; return False where no group has a count that is faster."""
        stop = self.stops[-1]
        open_groups = [group for group in self._allotment.groups if group.name not in self._allotment.fixed]
        self._measure_next(open_groups, stop.counts)
        best, worth = None, 0.0
        for group in open_groups:
            if (found := self._faster(group, stop.counts)) is not None:
                count, gain = found
                loss = max(self._loss(group.name, stop.counts[group.name], count), _LEAST_LOSS)
                if gain / loss > worth:
                    best, worth = {**stop.counts, group.name: count}, gain / loss
        if best is not None:
            self.stops.append(Stop(counts=best, predicted=self._ms(best) / self._whole_ms))
        return best is not None

    def _measure_next(self, groups: Sequence[ChannelGroup], counts: Counts) -> None:
        """Measure in few runs what the next step of every group needs."""
        wanted = []
        for group in groups:
            for count in self._smaller(group, counts)[:1]:
                wanted += self._layers.shapes({**counts, group.name: count}, self._layers.touched[group.name])
        self._table.measure(wanted, self._progress)

    def _smaller(self, group: ChannelGroup, counts: Counts) -> list[int]:
        """Return the counts below the group's present one that are tried, the largest first."""
        allowed = self._allotment.allowed(group)
        spacing = -(-len(allowed) // _LEVELS)
        return [count for count in allowed[::-1][::spacing] if count < counts[group.name]]

    def _faster(self, group: ChannelGroup, counts: Counts) -> tuple[int, float] | None:
        """Return the next smaller count that is really faster, and the ms that it gains; None where there is none."""
        touched = self._layers.touched[group.name]
        now = self._ms(counts, touched)
        for count in self._smaller(group, counts):
            gain = now - self._ms({**counts, group.name: count}, touched)
            if gain > _REAL * now:
                return count, gain
        return None

    def _loss(self, name: str, before: int, after: int) -> float:
        kept = self._kept[name]
        if self._allotment.scope == "global":
            return float(kept[before] - kept[after])
        return len(self._layers.touched[name]) * float(kept[-1] / kept[after] - kept[-1] / kept[before])

    def _ms(self, counts: Counts, calls: Sequence[int] | None = None) -> float:
        shapes = self._layers.shapes(counts, calls)
        self._table.measure(shapes, self._progress)
        return self._table.latency_ms(shapes)


def _widths(group: ChannelGroup) -> dict[tuple[str, int], int]:
    """Return how many positions of a layer's weight, along a dimension, one channel of the group stands for.

    The weight of a depthwise convolution both makes and reads its channels: the same positions count once.
    """
    places: dict[tuple[str, int], list[Tensor]] = {}
    for part in group.slices:
        if part.role in ("output", "input"):
            places.setdefault((part.parameter.removesuffix(".weight"), part.dimension), []).append(part.index.flatten())
    positions = {place: int(torch.cat(index).bincount().count_nonzero()) for place, index in places.items()}
    return {place: number // group.channels for place, number in positions.items()}


def _kept_scores(scores: Tensor) -> Tensor:
    """Return float64 (channels + 1,): the sum of the k best scores for k from 0 on, all above 0.

    Scores may be negative or all 0: they are moved up until none is negative, and a little further.
    """
    best = scores.double().sort(descending=True).values
    best = best - min(float(best[-1]), 0.0)
    best = best + max(float(best.mean()), 1.0e-30) * 1e-6
    return torch.cat([best.new_zeros(1), best.cumsum(0)])
