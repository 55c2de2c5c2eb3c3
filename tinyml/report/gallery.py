"""The easiest and the hardest images of each class."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from tinyml.analysis.difficulty.examples import Examples
from tinyml.data import Split
from tinyml.report.png import png_address

SHOWN: Final = 6  # images a class at either end
CLASSES_SHOWN: Final = 20
_LARGEST_SIDE: Final = 64  # pixels; of larger images every second, third, ... pixel is shown


@final
@dataclass(frozen=True, kw_only=True)
class Picture:
    """One image with what is said below it."""

    address: str
    caption: str
    wrong: bool


@final
@dataclass(frozen=True, kw_only=True)
class ClassGallery:
    """A class with its easiest and its hardest images, the easiest and the hardest first."""

    name: str
    easiest: tuple[Picture, ...]
    hardest: tuple[Picture, ...]


def galleries(examples: Examples, split: Split, classes: Sequence[str]) -> list[ClassGallery]:
    """Return a gallery for each class that has examples, at most CLASSES_SHOWN.

    Easy is a low prediction depth, and of equal ones a large margin; hard the other way round.

    Args:
        examples: of the split.
        split: images uint8 (N, H, W, 1 or 3).
        classes: names in the order of the labels.
    """
    by_ease = np.lexsort((-examples.margins, examples.depths))
    found = []
    for label in np.unique(examples.labels)[:CLASSES_SHOWN]:
        own = by_ease[examples.labels[by_ease] == label]
        half = max(1, min(SHOWN, len(own) // 2))
        found.append(
            ClassGallery(
                name=classes[label],
                easiest=tuple(_picture(examples, split, classes, row) for row in own[:half]),
                hardest=tuple(_picture(examples, split, classes, row) for row in own[: -half - 1 : -1]),
            )
        )
    return found


def _picture(examples: Examples, split: Split, classes: Sequence[str], row: int) -> Picture:
    answer = classes[examples.predictions[row]]
    wrong = not examples.right[row]
    caption = f"depth {examples.depths[row]}" + (f", taken for {answer}" if wrong else "")
    return Picture(address=png_address(_small(split.x[examples.indices[row]])), caption=caption, wrong=wrong)


def _small(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    step = -(-max(image.shape[:2]) // _LARGEST_SIDE)
    return image[::step, ::step]
