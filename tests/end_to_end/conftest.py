"""Checkpoints and data of a user, for the commands to work on."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from tinyml.cli import main

TESTS = Path(__file__).parents[1]

CARD = """\
version: 1
name: patches
task: classification
kind: npz
train: train.npz
validation: 0.2
test: test.npz
mean: [0.5, 0.5, 0.5]
std: [0.25, 0.25, 0.25]
classes: 10
"""


def patches(images: int, seed: int) -> dict[str, np.ndarray]:
    """Return uint8 (N, 32, 32, 3) noise with a patch at a random place, whose colour tells the class."""
    generator = np.random.default_rng(seed)
    y = np.arange(images) % 10
    x = generator.integers(0, 60, (images, 32, 32, 3))
    for image, label in zip(x, y, strict=True):
        row, column = generator.integers(0, 12, 2)
        image[row : row + 20, column : column + 20] += np.array([label % 3, label // 3 % 3, label // 9 * 2]) * 90
    return {"x": x.astype(np.uint8), "y": y}


@pytest.fixture(scope="session")
def patches_card(once: Callable[..., Path]) -> Path:
    def write(folder: Path) -> None:
        folder.mkdir()
        np.savez(folder / "train.npz", **patches(700, 0))
        np.savez(folder / "test.npz", **patches(200, 1))
        (folder / "card.yaml").write_text(CARD, encoding="utf-8")

    return once("patches", write) / "card.yaml"


@pytest.fixture(scope="session")
def digits_run(once: Callable[..., Path], digits_checkpoint: Path) -> Callable[..., Path]:
    """Return a function that sends lenet-digits through passes, once, and gives the run directory; to be read only."""

    def run(name: str, passes: Sequence[str], *, target: str = "x86-avx2") -> Path:
        def compress(path: Path) -> None:
            recipe = path.with_suffix(".yaml")
            recipe.write_text("\n  - ".join([f"version: 1\nname: {name}\npasses:", *passes]) + "\n")
            options = ("--model", "lenet-digits", "--data", "digits", "--target", target, "-q")
            assert main(["compress", str(digits_checkpoint), *options, "--recipe", str(recipe), "-o", str(path)]) == 0

        return once(name, compress)

    return run


@pytest.fixture
def user_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """`user_models:...` can be imported, as for a user whose file lies in the current folder."""
    monkeypatch.syspath_prepend(TESTS)
