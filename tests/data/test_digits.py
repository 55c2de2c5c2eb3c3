import subprocess
import sys

import numpy as np
import pytest

from tinyml.data import load_task
from tinyml.data.digits import load_digits


def test_the_splits_hold_1097_300_and_400_digits():
    assert [len(split) for split in load_digits().splits.values()] == [1097, 300, 400]


@pytest.mark.parametrize(("split", "per_class"), [("validation", 30), ("test", 40)])
def test_validation_and_test_hold_each_digit_equally_often(split: str, per_class: int):
    assert np.bincount(load_digits().splits[split].y).tolist() == [per_class] * 10


def test_no_image_stands_in_two_splits():
    images = [image.tobytes() for split in load_digits().splits.values() for image in split.x]
    assert len(set(images)) == len(images) == 1797


def test_pixels_are_the_17_grey_levels_of_the_source():
    levels = np.unique(load_digits().train.x)
    assert levels.tolist() == [round(level * 255 / 16) for level in range(17)]


def test_normalised_training_pixels_have_mean_0_and_deviation_1():
    task = load_digits()
    inputs = task.inputs(task.train.x)
    assert inputs.mean() == pytest.approx(0, abs=2e-4)  # mean and std are stated to four digits
    assert inputs.std() == pytest.approx(1, abs=2e-4)


def test_digits_is_a_name_of_load_task():
    assert load_task("digits").fingerprint == load_digits().fingerprint


def test_data_does_not_import_torch():
    script = "import sys, tinyml.data; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
