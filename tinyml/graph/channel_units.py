"""Channels that stand for several positions each: what goes together where one position alone cannot go.

For u channels, channel c takes the rows r of every place with r mod u = c: the same place in every head or group.
Fewer, coarser channels are unions of finer ones: where u channels can be renamed, so can every divisor of u.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from tinyml.graph.channel_dependencies import PRODUCERS, Place
from tinyml.graph.channel_groups import ChannelGroup
from tinyml.graph.channel_layers import Unsuited, place_size, place_slices

Index = Mapping[Place, Tensor]
"""The positions (rows, k) at every place."""


def group_of(model: nn.Module, index: Index, others: Sequence[ChannelGroup]) -> ChannelGroup | None:
    """Return the group whose channels stand at these positions; None where there are no positions.

    Raises:
        Unsuited: They cannot be cut from one of the layers, or belong to one of the other groups.
    """
    if not index:
        return None
    slices = [part for place, rows in index.items() for part in place_slices(model, place, rows)]
    taken = {(part.parameter, part.dimension): part.index for other in others for part in other.slices}
    for part in slices:
        if bool(torch.isin(part.index, taken.get((part.parameter, part.dimension), torch.empty(0))).any()):
            raise Unsuited(f"'{part.parameter}' has positions that belong to other channels as well")
    order = [name for name, module in model.named_modules() if isinstance(module, PRODUCERS)]
    produced = {place.name: rows for place, rows in index.items() if place.side == "output" and place.name in order}
    first = min(produced, key=order.index)
    return ChannelGroup(name=first, channels=len(produced[first]), width=produced[first].shape[1], slices=tuple(slices))


def single_positions(model: nn.Module, places: tuple[Place, ...]) -> Index:
    """Return every position of every place as a row of its own."""
    sizes = {place: place_size(model, place) for place in places}
    return {place: torch.arange(size).reshape(-1, 1) for place, size in sizes.items() if size > 1}


def largest_units(base: Index, renames: Callable[[Index], bool]) -> int:
    """Return the number of units, as large as can be climbed to, that `renames` accepts; 1 where none is."""
    rest = math.gcd(*(len(rows) for rows in base.values()))
    units = 1
    for prime, power in _primes(rest).items():
        for _ in range(power):
            if not renames(_units(base, units * prime)):
                break
            units *= prime
    return units


def smaller_counts(base: Index, units: int) -> Iterator[Index]:
    """Yield the positions in so many units and in every smaller number that divides it, 2 at least, largest first."""
    for count in range(units, 1, -1):
        if units % count == 0:
            yield _units(base, count)


def _units(base: Index, units: int) -> Index:
    return {
        place: rows.reshape(-1, units, rows.shape[1]).transpose(0, 1).reshape(units, -1) for place, rows in base.items()
    }


def _primes(number: int) -> Counter[int]:
    """Return how often every prime divides the number."""
    factors: Counter[int] = Counter()
    factor = 2
    while number > 1:
        while number % factor == 0:
            factors[factor] += 1
            number //= factor
        factor += 1
    return factors
