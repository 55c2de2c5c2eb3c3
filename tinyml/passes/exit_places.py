"""Which of a network's cut points get an exit: as many as asked for, those that are named, or those a file suggests."""

from collections.abc import Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from tinyml.errors import RecipeError, did_you_mean
from tinyml.graph.cut_points import CutPoint, evenly_spread


class _PlacesFile(BaseModel):
    """A file of suggested places: `{"places": ["layer2", "layer1"]}`, the best first; what else it says is not read."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    places: tuple[str, ...]


def named_places(cuts: Sequence[CutPoint], patterns: Sequence[str], *, where: str = "") -> tuple[CutPoint, ...]:
    """Return the cuts that names or glob patterns match, in the order of the network.

    Args:
        cuts: of the network, in its order.
        patterns: names or glob patterns.
        where: they were read, for the message: "places: 'exits.json': ".

    Raises:
        RecipeError: A pattern matches none, or two names are one place.
    """
    for pattern in patterns:
        if not any(_named(cut, pattern) for cut in cuts):
            raise RecipeError(
                f"early_exit: {where}'{pattern}' is no place for an exit.{_nearest(pattern, cuts)} There are "
                f"{_listed(cuts)}"
            )
    for cut in cuts:
        if len(same := [pattern for pattern in patterns if pattern in cut.names]) > 1:
            raise RecipeError(f"early_exit: {where}'{same[0]}' and '{same[1]}' are one place: leave one of them out")
    return tuple(cut for cut in cuts if any(_named(cut, pattern) for pattern in patterns))


def spread_places(cuts: Sequence[CutPoint], count: int) -> tuple[CutPoint, ...]:
    """Return so many cuts, spread evenly over the network's MACs.

    Raises:
        RecipeError: There are fewer.
    """
    if count > len(cuts):
        raise RecipeError(f"early_exit: {count} exits are asked for; there are {len(cuts)} places: {_listed(cuts)}")
    return evenly_spread(cuts, count)


def suggested_places(cuts: Sequence[CutPoint], count: int, file: Path) -> tuple[CutPoint, ...]:
    """Return the best so many cuts of a file of suggestions, in the order of the network.

    Raises:
        RecipeError: The file cannot be read, names what is no place, or has fewer places.
    """
    try:
        names = _PlacesFile.model_validate_json(file.read_bytes()).places
    except OSError as error:
        raise RecipeError(f"early_exit: places: '{file}' cannot be read: {error.strerror}") from error
    except ValidationError as error:
        raise RecipeError(
            f'early_exit: places: \'{file}\' is not of the form {{"places": ["layer2", "layer1"]}}: '
            f"{error.errors()[0]['msg']}"
        ) from error
    best: list[CutPoint] = []
    for name in names:
        best += [cut for cut in named_places(cuts, [name], where=f"places: '{file}': ") if cut not in best]
    if len(best) < count:
        raise RecipeError(f"early_exit: {count} exits are asked for; '{file}' has {len(best)} places: {_listed(best)}")
    return tuple(sorted(best[:count], key=cuts.index))


def _named(cut: CutPoint, pattern: str) -> bool:
    return any(fnmatchcase(name, pattern) for name in cut.names)


def _nearest(pattern: str, cuts: Sequence[CutPoint]) -> str:
    """Return which place may be meant, by the name in the list or, where that is not near, by another of its names."""
    if listed := did_you_mean(pattern, [cut.name for cut in cuts]):
        return listed
    others = {name: cut.name for cut in cuts for name in cut.names}
    found = get_close_matches(pattern, others, n=1)
    return f" Did you mean '{found[0]}', which is '{others[found[0]]}'?" if found else ""


def _listed(cuts: Sequence[CutPoint]) -> str:
    return ", ".join(cut.name for cut in cuts) or "none"
