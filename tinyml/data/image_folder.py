"""Reads a folder of images, one folder a class, in the order of their names."""

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import numpy as np

from tinyml.data.split import Split
from tinyml.errors import DataError, MissingDependency, did_you_mean

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")


def read_image_folder(path: Path, classes: Sequence[str], size: tuple[int, int] | None) -> Split:
    """Return x uint8 (N, H, W, 3) and y int64 (N,): RGB images, class after class, file names sorted.

    Args:
        path: holds one folder for each class; files beside them and hidden names are ignored.
        classes: the folders in the order of their labels.
        size: (height, width) that each image is brought to: scaled to cover it, then cropped at the centre.
            None where all have one size already.

    Raises:
        DataError: where folders and classes differ, a class is empty, an image is damaged or has another size.
        MissingDependency: where pillow is not installed.
    """
    pillow = _pillow()
    _check_folders(path, classes)
    images, labels = [], []
    for label, name in enumerate(classes):
        files = _image_files(path / name)
        if not files:
            raise DataError(f"{path / name}: no images in this folder; allowed: {', '.join(SUFFIXES)}.")
        for file in files:
            images.append(_read_image(file, size, pillow))
            labels.append(label)
            if images[-1].shape != images[0].shape:
                raise DataError(
                    f"{file}: is {_size(images[-1])} pixels, others are {_size(images[0])}; "
                    "put `size: [height, width]` in the data card to bring all to one size."
                )
    return Split(x=np.stack(images), y=np.array(labels, dtype=np.int64), source=f"folder {path.name}")


def class_folders(path: Path) -> list[str]:
    """Return the names of the class folders, sorted.

    Raises:
        DataError: where `path` is not a folder, or has no folder inside.
    """
    if not path.is_dir():
        beside = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        raise DataError(f"{path}: there is no such folder.{did_you_mean(path.name, beside)}")
    names = sorted(entry.name for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if not names:
        raise DataError(f"{path}: no folders inside; one folder for each class is wanted.")
    return names


def _check_folders(path: Path, classes: Sequence[str]) -> None:
    found = class_folders(path)
    missing = [name for name in classes if name not in found]
    extra = [name for name in found if name not in classes]
    if missing or extra:
        parts = [f"no folder for class {', '.join(missing)}"] if missing else []
        parts += [f"folder {', '.join(extra)} is not among the classes"] if extra else []
        raise DataError(f"{path}: {'; '.join(parts)}.")


def _image_files(folder: Path) -> list[Path]:
    return sorted(f for f in folder.iterdir() if f.suffix.lower() in SUFFIXES and not f.name.startswith("."))


def _pillow() -> ModuleType:
    try:
        import PIL.Image
        import PIL.ImageOps
    except ModuleNotFoundError as missing:
        raise MissingDependency(
            "Image folders need pillow, which is not installed; run: pip install 'tinyml[images]'"
        ) from missing
    return PIL


def _read_image(file: Path, size: tuple[int, int] | None, pillow: ModuleType) -> np.ndarray:
    """Return uint8 (H, W, 3)."""
    try:
        with pillow.Image.open(file) as opened:
            image = opened.convert("RGB")
            if size is not None:
                height, width = size
                image = pillow.ImageOps.fit(image, (width, height), method=pillow.Image.Resampling.BILINEAR)
            return np.asarray(image, dtype=np.uint8)
    except Exception as failure:  # pillow's decoders raise OSError, SyntaxError, ValueError, struct.error and more
        reason = str(failure).strip().splitlines()[:1]
        raise DataError(
            f"{file}: cannot be read as an image: {reason[0] if reason else type(failure).__name__}"
        ) from failure


def _size(image: np.ndarray) -> str:
    return f"{image.shape[0]} x {image.shape[1]}"
