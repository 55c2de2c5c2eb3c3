"""Published networks on the development data, as its notes say they score; skipped where that data is not there."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

Run = Callable[..., Any]

PUBLISHED = [
    pytest.param("resnet20-cifar", "resnet20-12fca82f.th", 0.910, id="ResNet-20"),
    pytest.param("resnet32-cifar", "resnet32-d509ac18.th", 0.932, id="ResNet-32"),
]
INT8 = ("--recipe", "int8", "--target", "x86-avx2")


def values(run: Path, metric: str) -> tuple[float, float]:
    """Return the metric of the baseline and of the model."""
    measured = json.loads((run / "metrics.json").read_text())
    return measured["baseline"][metric]["value"], measured["model"][metric]["value"]


@pytest.mark.parametrize(("model", "file", "accuracy"), PUBLISHED)
def test_a_published_checkpoint_goes_the_whole_way(
    tinyml: Run, shared: Path, tmp_path: Path, model, file, accuracy
) -> None:
    data, run = shared / "data", tmp_path / "run"
    own = ("--model", model, "--data", data / "cifar10-lossless.yaml")
    told = tinyml("compress", data / file, *own, *INT8, "--set", "gates.max_drop_points=2", "-o", run)
    before, after = values(run, "accuracy")
    assert (told.code, before) == (0, pytest.approx(accuracy, abs=1e-9))
    assert after >= before - 0.012  # 0.4 points and the noise of 500 images on which two files differ by chance
    assert tinyml("verify", run, "--data", data / "cifar10-lossless.yaml").code == 0


def test_the_fine_tuned_network_loses_at_most_four_tenths_of_a_point(tinyml: Run, shared: Path, tmp_path: Path) -> None:
    data, run = shared / "data", tmp_path / "run"
    own = ("--model", "resnet20-cifar", "--data", data / "cifar10-jpeg.yaml")
    told = tinyml(
        "compress", data / "resnet20-cifar10-jpeg.pt", *own, *INT8, "--set", "gates.max_drop_points=0.4", "-o", run
    )
    before, after = values(run, "accuracy")
    sizes = values(run, "size_bytes")
    assert told.code == 0
    assert before == pytest.approx(0.8766, abs=0.0005)  # torch's figure; onnxruntime's sums differ in their last bits
    assert after >= before - 0.004 - 1e-9
    assert sizes[1] <= 0.30 * sizes[0]


def test_full_8_bit_weights_forced_are_refused_and_their_loss_shown(tinyml: Run, shared: Path, tmp_path: Path) -> None:
    data = shared / "data"
    own = ("--model", "resnet20-cifar", "--data", data / "cifar10-lossless.yaml", *INT8)
    forced = ("--set", "passes.0.weight_range=full", "-o", tmp_path / "run", "--json")
    told = tinyml("compress", data / "resnet20-12fca82f.th", *own, *forced)
    checks = {check["name"]: check for check in json.loads(told.out)["checks"]}
    assert told.code == 3
    assert "Refused as portable" in checks["int8 is right on every CPU"]["explanation"]
    assert float(checks["on x86 without VNNI (emulated)"]["value"].split()[0]) < 0


def test_int8_halves_nearly_the_latency_of_resnet32(tinyml: Run, shared: Path, tmp_path: Path) -> None:
    own = ("--model", "resnet32-cifar", "--data", shared / "data" / "cifar10-lossless.yaml")
    told = tinyml("compress", shared / "data" / "resnet32-d509ac18.th", *own, *INT8, "-o", tmp_path / "run")
    assert told.code == 0
    assert values(tmp_path / "run", "latency_ratio")[1] >= 1.45
