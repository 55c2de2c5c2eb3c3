"""Where the files that come with tinyml are: recipes, targets, and what runs on a device."""

from pathlib import Path
from typing import Literal

Kind = Literal["recipes", "targets", "runner"]

PACKAGE = Path(__file__).parent
# A wheel holds them inside the package; in a checkout (an editable install) they stand at the top level.
PLACES = {
    "recipes": (PACKAGE / "_shipped" / "recipes", PACKAGE.parent / "recipes"),
    "targets": (PACKAGE / "_shipped" / "targets", PACKAGE.parent / "export" / "targets"),
    "runner": (PACKAGE / "_shipped" / "runner", PACKAGE.parent / "export" / "runner"),
}


def shipped(kind: Kind) -> Path:
    """Return the directory of the shipped files of this kind.

    Raises:
        FileNotFoundError: where neither the installed package nor a checkout holds it: the installation is damaged.
    """
    for place in PLACES[kind]:
        if place.is_dir():
            return place
    raise FileNotFoundError(f"tinyml's own {kind} are missing from {PLACES[kind][0]}: install tinyml again")


def shipped_files(kind: Literal["recipes", "targets"]) -> dict[str, Path]:
    """Return the shipped YAML files of this kind by name."""
    return {path.stem: path for path in sorted(shipped(kind).glob("*.yaml"), key=lambda path: path.stem)}
