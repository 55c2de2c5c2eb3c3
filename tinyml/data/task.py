"""What a model is for: its data, how a network sees it, and how its outputs are scored."""

import hashlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from tinyml.data.faults import array_faults, label_faults, normalisation_faults, shape_faults
from tinyml.data.roc import roc_auc
from tinyml.data.split import Split
from tinyml.errors import DataError

logger = logging.getLogger(__name__)

__all__ = ["Augmentation", "Kind", "Split", "Task", "reconstruction_errors"]

Kind = Literal["classification", "reconstruction"]


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """What is done at random to training images.

    Attributes:
        crop: pixels of zero padding on each side, of which a random window of the original size is kept.
        flip: whether each image is mirrored left to right with probability 1/2.
        cutout: side in pixels of a square of zeros put at a random place; 0 for none.
    """

    crop: int = 0
    flip: bool = False
    cutout: int = 0


@dataclass(frozen=True, kw_only=True)
class Task:
    """Data and score of one job; checked when it is made.

    Attributes:
        name: for reports.
        kind: classification, or reconstruction (an autoencoder whose error tells anomalous from normal examples).
        input_shape: (C, H, W) of one example as the network sees it; for float data any shape without the batch.
        classes: names in the order of the labels.
        train: what is learned from; None where there is none. For reconstruction it holds normal examples only.
        validation: what every choice is made on.
        test: what the report alone touches.
        mean: one value a channel, of pixels scaled to 0-1; () for float data.
        std: as `mean`.
        augmentation: of training images.
        fingerprint: sha256 in hex of the data and of all the above; computed where it is left empty
            (dataclasses.replace keeps the old one: pass fingerprint="" beside what is changed).

    Raises:
        DataError: naming all that is wrong with the data.
    """

    name: str
    kind: Kind
    input_shape: tuple[int, ...]
    classes: tuple[str, ...]
    train: Split | None = None
    validation: Split | None = None
    test: Split | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    augmentation: Augmentation = field(default_factory=Augmentation)
    fingerprint: str = ""

    def __post_init__(self) -> None:
        faults = _task_faults(self)
        if faults:
            raise DataError("\n  ".join([f"task '{self.name}': {faults[0]}", *faults[1:]]))
        if not self.fingerprint:
            object.__setattr__(self, "fingerprint", _fingerprint(self))

    @property
    def splits(self) -> dict[str, Split]:
        """Return the splits that exist, by name."""
        named = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: split for name, split in named.items() if split is not None}

    @property
    def score_name(self) -> str:
        """Return what `score` measures: 'accuracy' or 'AUC'."""
        return "accuracy" if self.kind == "classification" else "AUC"

    @property
    def pixel_scale(self) -> np.ndarray:
        """Return float32 (C,): `inputs` is pixels x pixel_scale + pixel_shift; empty for float data."""
        return (1.0 / (255.0 * np.asarray(self.std, dtype=np.float64))).astype(np.float32)

    @property
    def pixel_shift(self) -> np.ndarray:
        """Return float32 (C,): see `pixel_scale`."""
        return (-np.asarray(self.mean, dtype=np.float64) / np.asarray(self.std, dtype=np.float64)).astype(np.float32)

    def inputs(self, x: np.ndarray) -> np.ndarray:
        """Return what the network takes: float32, C-contiguous.

        Pixels uint8 (N, H, W, C) become (N, C, H, W), normalised by mean and std; float (N, ...) is taken as it is.
        """
        if x.dtype != np.uint8:
            return np.ascontiguousarray(x, dtype=np.float32)
        normalised = x.transpose(0, 3, 1, 2).astype(np.float32, order="C")
        normalised *= self.pixel_scale[:, None, None]
        normalised += self.pixel_shift[:, None, None]
        return normalised

    def batches(self, split: Split, batch_size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield (inputs (n, ...) float32, labels (n,) int64) in order; the last batch may be smaller.

        Raises:
            DataError: where batch_size is below 1.
        """
        if batch_size < 1:
            raise DataError(f"batch_size is {batch_size}; it must be at least 1.")
        for start in range(0, len(split), batch_size):
            stop = start + batch_size
            yield self.inputs(split.x[start:stop]), split.y[start:stop]

    @property
    def calibration_split(self) -> Split:
        """Return the split that calibration images come from: train, or validation where there is no train.

        Raises:
            DataError: where neither exists (the test split is never used).
        """
        split = self.train or self.validation
        if split is None:
            raise DataError(
                f"task '{self.name}' has neither train nor validation data, so there is nothing to calibrate on; "
                "name one in the data card (test data is never used for it)."
            )
        return split

    def calibration_examples(self, images: int, seed: int) -> Split:
        """Return `images` examples of `calibration_split`, drawn without replacement.

        Fewer where the split is smaller; this, and the use of validation data, is logged.

        Raises:
            DataError: where images is below 1, or there is neither train nor validation data.
        """
        split = self.calibration_split
        if images < 1:
            raise DataError(f"{images} calibration images were asked for; at least 1 is needed.")
        if self.train is None:
            logger.warning("Calibrating on validation data: task '%s' has no train data", self.name)
        if images > len(split):
            logger.warning("Calibrating on all %d images of %s: %d were asked for", len(split), split.source, images)
        return split.take(np.random.default_rng(seed).permutation(len(split))[:images], f"drawn from {split.source}")

    def calibration_inputs(self, images: int, seed: int) -> np.ndarray:
        """Return float32 (images, ...): the network's inputs for `calibration_examples`."""
        return self.inputs(self.calibration_examples(images, seed).x)

    def score(self, outputs: np.ndarray, y: np.ndarray, inputs: np.ndarray) -> np.ndarray:
        """Return scores whose mean is `score_name`.

        Args:
            outputs: logits (N, classes), or reconstructions of the shape of `inputs`.
            y: labels (N,).
            inputs: what the network was given; only a reconstruction is compared with it.

        Returns:
            Classification: bool (N,), whether each example is right (one with a NaN or infinite output is not).
            Reconstruction: float64 () with the ROC AUC of the mean squared error of each example.

        Raises:
            DataError: where the AUC is not defined.
        """
        if self.kind == "classification":
            return np.asarray((outputs.argmax(axis=1) == y) & np.isfinite(outputs).all(axis=1))
        return np.asarray(roc_auc(reconstruction_errors(outputs, inputs), y))


def reconstruction_errors(outputs: np.ndarray, inputs: np.ndarray) -> np.ndarray:
    """Return float64 (N,): the mean squared error of each example, outputs and inputs (N, ...)."""
    difference = (outputs.astype(np.float64) - inputs).reshape(len(inputs), -1)
    return np.asarray(np.einsum("ij,ij->i", difference, difference) / difference.shape[1])


def _task_faults(task: Task) -> list[str]:
    splits = list(task.splits.values())
    if not splits:
        return ["has no data: train, validation and test are all missing"]
    faults = [f"{split.source}: {fault}" for split in splits for fault in array_faults(split.x, split.y)]
    if faults:
        return faults
    for split in splits:
        faults += [f"{split.source}: {fault}" for fault in label_faults(split.y, task.kind, task.classes)]
    if task.kind == "reconstruction" and task.train is not None and task.train.y.any():
        faults.append(f"{task.train.source}: {np.count_nonzero(task.train.y)} anomalous examples; train on normal ones")
    x = splits[0].x
    pixels = x.dtype == np.uint8
    faults += shape_faults(splits) + normalisation_faults(task.mean, task.std, x.shape[3] if pixels else None)
    seen = (x.shape[3], *x.shape[1:3]) if pixels else x.shape[1:]
    if tuple(task.input_shape) != seen:
        faults.append(f"input_shape is {task.input_shape}; the data has {seen}")
    return faults + _augmentation_faults(task.augmentation, seen)


def _augmentation_faults(augmentation: Augmentation, shape: tuple[int, ...]) -> list[str]:
    if augmentation == Augmentation():
        return []
    if len(shape) != 3:
        return [f"augmentation needs images (C, H, W); an example has shape {shape}"]
    return [
        f"augmentation: {name} is {value}; allowed: 0 to {min(shape[1:])} pixels for images of {shape[1]} x {shape[2]}"
        for name, value in (("crop", augmentation.crop), ("cutout", augmentation.cutout))
        if not 0 <= value <= min(shape[1:])
    ]


def _fingerprint(task: Task) -> str:
    digest = hashlib.sha256()
    facts = (task.name, task.kind, task.input_shape, task.classes, task.mean, task.std, task.augmentation)
    digest.update(repr(facts).encode())
    for name, split in task.splits.items():
        for array in (split.x, split.y):
            digest.update(f"{name} {array.dtype} {array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
