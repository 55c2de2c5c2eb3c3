"""A task that a linear model can do, a small network for it, and two processes."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tinyml.data import Augmentation, Split, Task
from tinyml.training import TrainingSettings

PATIENCE_S = 100


def _split(n: int, seed: int) -> Split:
    """Dark and bright images: pixels 0-127 for class 0, 128-255 for class 1."""
    generator = np.random.default_rng(seed)
    y = np.arange(n, dtype=np.int64) % 2
    x = generator.integers(0, 128, (n, 4, 4, 1)) + 128 * y.reshape(-1, 1, 1, 1)
    return Split(x=x.astype(np.uint8), y=y, source="made for the tests")


@pytest.fixture
def task() -> Task:
    return Task(
        name="dark-or-bright",
        kind="classification",
        input_shape=(1, 4, 4),
        classes=("dark", "bright"),
        train=_split(64, 0),
        validation=_split(32, 1),
        test=_split(32, 2),
        mean=(0.5,),
        std=(0.25,),
        augmentation=Augmentation(crop=1, flip=True),
        fingerprint="0" * 64,
    )


@pytest.fixture
def settings() -> TrainingSettings:
    return TrainingSettings(epochs=3, batch_size=16, learning_rate=0.05, warmup=0.1)


@pytest.fixture
def module() -> nn.Module:
    """A convolution, BatchNorm, dropout and a classifier: everything whose state or randomness a resume must keep."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1, bias=False),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Flatten(),
            nn.Dropout(0.2),
            nn.Linear(64, 2),
        ).eval()


def _run_two(cases: str, folder: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, "-W", "error", str(Path(__file__).parents[1] / "two_processes.py"), cases, str(folder)]
    shared = {**os.environ, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    shared["PYTHONPATH"] = str(Path(__file__).parents[2])
    both = [
        subprocess.Popen(
            command, env={**shared, "RANK": rank, "LOCAL_RANK": rank}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        for rank in "01"
    ]
    for process in both:
        said, _ = process.communicate(timeout=PATIENCE_S)
        assert said == b""


@pytest.fixture(scope="session")
def outcome(once: Callable[..., Path]) -> Callable[[str], list[Any]]:
    """Return a function that gives what the processes 0 and 1 made of a case."""

    def of(case: str) -> list[Any]:
        cases = "killed" if case == "killed" else "all"

        def work(folder: Path) -> None:
            folder.mkdir()
            _run_two(cases, folder)

        folder = once(f"two-processes-{cases}", work)
        paths = [folder / f"{case}.{rank}.json" for rank in "01"]
        return [json.loads(path.read_text()) if path.exists() else None for path in paths]

    return of
