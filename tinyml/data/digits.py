"""The digits that are shipped: 1,797 handwritten digits of 8 x 8 pixels (UCI, see digits.LICENSE)."""

import io
from importlib import resources

import numpy as np

from tinyml.data.split import Split
from tinyml.data.task import Augmentation, Task

SPLITS = ("train", "validation", "test")  # 1,097, 300 and 400 examples, stratified by class when the file was made
# Of the training pixels, scaled to 0-1.
MEAN, STD = (0.3056,), (0.3760,)


def load_digits() -> Task:
    """Return the digits as a classification Task of ten classes, input (1, 8, 8)."""
    content = resources.files("tinyml.data").joinpath("digits.npz").read_bytes()
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        splits = {
            name: Split(x=arrays[f"{name}_x"], y=arrays[f"{name}_y"], source=f"the shipped digits, {name}")
            for name in SPLITS
        }
    return Task(
        name="digits",
        kind="classification",
        input_shape=(1, 8, 8),
        classes=tuple("0123456789"),
        train=splits["train"],
        validation=splits["validation"],
        test=splits["test"],
        mean=MEAN,
        std=STD,
        augmentation=Augmentation(crop=1),
    )
