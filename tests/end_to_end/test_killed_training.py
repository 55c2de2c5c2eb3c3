"""SIGKILL at random moments of a run that trains, each followed by --resume: the same bytes as an undisturbed run."""

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tinyml.manifest import verify_manifest

KILLS = 20
SAME = ("recipe.yaml", "architecture.json", "model.safetensors", "model.onnx", "reference.npz", "baseline/model.onnx")
RECIPE = """\
version: 1
name: tuned-int8
passes:
  - fine_tuning: {epochs: 12, batch_size: 32, ema_decay: 0.95, gradient_clip: 1.0, distill: true, batchnorm_images: 500}
  - linear_quantization: {calibration: {images: 256}}
"""


@pytest.fixture
def command(digits_checkpoint: Path, tmp_path: Path) -> Callable[[str], list[str]]:
    """Return a function that gives the command which writes to this name."""
    (tmp_path / "tuned.yaml").write_text(RECIPE)
    own = ["--model", "lenet-digits", "--data", "digits", "--recipe", str(tmp_path / "tuned.yaml")]
    start = [sys.executable, "-m", "tinyml", "compress", str(digits_checkpoint), *own, "--target", "x86-avx2"]
    return lambda name: [*start, "-o", str(tmp_path / name)]


def run(arguments: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(arguments, capture_output=True, text=True, check=False, env=dict(os.environ), **options)


def epochs(directory: Path) -> list[tuple[int, float]]:
    """Return (epoch, loss) of every line about an epoch in the history."""
    lines = [json.loads(line) for line in (directory / "history.jsonl").read_text().splitlines()]
    return [(line["epoch"], line["loss"]) for line in lines if line["event"] == "epoch"]


@pytest.mark.slow
def test_a_training_killed_at_random_moments_and_resumed_ends_in_the_same_bytes(
    command: Callable[[str], list[str]], tmp_path: Path
) -> None:
    began = time.monotonic()
    assert run(command("undisturbed")).returncode == 0
    seconds = time.monotonic() - began
    moments = random.Random(0)
    resumed = 0
    for kill in range(KILLS):
        name, directory = f"killed-{kill}", tmp_path / f"killed-{kill}"
        try:
            run(command(name), timeout=moments.uniform(0.1, 0.9) * seconds)  # kills with SIGKILL
        except subprocess.TimeoutExpired:
            resumed += (directory / ".work").exists()
        ended = run([*command(name), "--resume"])
        assert ended.returncode == 0, ended.stderr
        different = [
            file for file in SAME if (directory / file).read_bytes() != (tmp_path / "undisturbed" / file).read_bytes()
        ]
        assert different == [], f"after kill {kill}"
        assert epochs(directory) == epochs(tmp_path / "undisturbed")
        assert verify_manifest(directory) == []
    assert resumed >= KILLS // 4  # else the moments fell before or after the work
