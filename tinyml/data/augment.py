"""Random crops, flips and cutouts of a whole batch at once.

Crop and flip as in He et al. 2015 (arXiv:1512.03385), cutout as in DeVries & Taylor 2017 (arXiv:1708.04552), but with
zeros in the pixels as they are stored, before normalisation.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from tinyml.data.task import Augmentation


def augment(
    x: np.ndarray,
    augmentation: Augmentation,
    generator: np.random.Generator,
    *,
    part: slice | None = None,
    total: int | None = None,
) -> np.ndarray:
    """Return images of the same shape and type, changed at random; `x` itself stays as it is.

    Args:
        x: uint8 (N, H, W, C), or float (N, C, H, W).
        augmentation: what to do.
        generator: where the randomness comes from; as much is drawn as for the whole batch.
        part: where in a larger batch these images stand: they are changed as they would be there. None: they are all.
        total: images of that batch.
    """
    total, part = (len(x), slice(None)) if part is None or total is None else (total, part)
    pixels_last = x.dtype != np.uint8
    images = x.transpose(0, 2, 3, 1) if pixels_last else x  # a view: (N, H, W, C) from here on
    if augmentation.crop:
        images = _crop(
            images, augmentation.crop, generator.integers(0, 2 * augmentation.crop + 1, size=(2, total))[:, part]
        )
    if augmentation.flip:
        mirrored = np.flatnonzero(generator.random(total)[part] < 0.5)
        images = images if augmentation.crop else images.copy()  # a crop is a copy already
        images[mirrored] = images[mirrored, :, ::-1]
    if augmentation.cutout:
        _, height, width, _ = images.shape
        rows, columns = (generator.integers(0, size, size=total)[part] for size in (height, width))
        squares = _squares(height, width, augmentation.cutout, rows, columns)
        images = np.where(squares, images.dtype.type(0), images)
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2) if pixels_last else images)


def _crop(images: np.ndarray, padding: int, corners: np.ndarray) -> np.ndarray:
    """Return windows (N, H, W, C) of the padded images whose top left corners (2, N) are given."""
    count, height, width, _ = images.shape
    padded = np.pad(images, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    top, left = corners
    windows = sliding_window_view(padded, (height, width), axis=(1, 2))  # (N, top, left, C, H, W), a view
    chosen: np.ndarray = windows[np.arange(count), top, left]
    return chosen.transpose(0, 2, 3, 1)


def _squares(height: int, width: int, side: int, row: np.ndarray, column: np.ndarray) -> np.ndarray:
    """Return bool (N, H, W, 1): one square an image with its centre at (row, column), cut off at the image's border."""
    first_row, first_column = row[:, None] - side // 2, column[:, None] - side // 2
    rows, columns = np.arange(height), np.arange(width)
    in_rows = (rows >= first_row) & (rows < first_row + side)
    in_columns = (columns >= first_column) & (columns < first_column + side)
    return (in_rows[:, :, None] & in_columns[:, None, :])[..., None]
