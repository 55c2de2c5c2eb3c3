from dataclasses import replace
from pathlib import Path

import pytest

from tinyml import target as module
from tinyml.errors import TargetError
from tinyml.runtime.probe import probe_machine
from tinyml.shipped import shipped_files
from tinyml.target import TARGETS, Target, cpu_target, load_target, parse_target, target_schema, target_yaml

CONCRETE = [name for name in TARGETS if name != "cpu"]

RIGHT = """\
version: 1
name: mine
summary: a board
provider: CPUExecutionProvider
integer: {activations: uint8, weights: int8, weight_range: full}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(RIGHT, encoding="utf-8")
    return path


def test_the_table_names_every_shipped_file() -> None:
    assert set(shipped_files("targets")) == set(CONCRETE)


@pytest.mark.parametrize("name", CONCRETE)
def test_a_shipped_file_says_what_the_table_says(name: str) -> None:
    target = load_target(name)
    assert (target.name, target.summary) == (name, TARGETS[name])


@pytest.mark.parametrize("name", CONCRETE)
def test_what_is_written_is_read_back(name: str, tmp_path: Path) -> None:
    (tmp_path / "copy.yaml").write_text(target_yaml(load_target(name)), encoding="utf-8")
    assert load_target(str(tmp_path / "copy.yaml")) == load_target(name)


@pytest.mark.parametrize("name", CONCRETE)
def test_the_text_alone_is_read_back(name: str) -> None:
    assert parse_target(target_yaml(load_target(name))) == load_target(name)


def test_a_wrong_text_is_told_under_its_name() -> None:
    with pytest.raises(TargetError, match=r"run/manifest\.json, target:6:1: gpu: unknown key"):
        parse_target(RIGHT + "gpu: 1\n", "run/manifest.json, target")


def test_a_file_of_ones_own_gets_the_defaults(file: Path) -> None:
    target = load_target(str(file))
    assert (target.opset, target.ir_version, target.saturates) == (21, 10, None)


@pytest.mark.parametrize(
    ("architecture", "saturates", "name"),
    [
        pytest.param("x86_64", True, "x86-avx2", id="saturating x86"),
        pytest.param("x86_64", False, "x86-vnni", id="x86 with VNNI"),
        pytest.param("AMD64", False, "x86-vnni", id="x86 on Windows"),
        pytest.param("aarch64", False, "arm64", id="ARM on Linux"),
        pytest.param("arm64", False, "arm64", id="ARM on macOS"),
        pytest.param("riscv64", False, "x86-avx2", id="unknown: the safe 7 bits"),
    ],
)
def test_a_cpu_is_the_target_that_the_probe_finds(architecture: str, saturates: bool, name: str) -> None:
    assert cpu_target(architecture, saturates=saturates) == name


def test_cpu_is_resolved_by_the_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = probe_machine()
    saturating = replace(machine, int8_saturates=True, cpu=replace(machine.cpu, architecture="x86_64"))
    monkeypatch.setattr(module, "probe_machine", lambda: saturating)
    assert load_target("cpu") == load_target("x86-avx2")


def test_a_saturating_target_has_weights_that_cannot_saturate() -> None:
    schemes = [target.integer for target in map(load_target, CONCRETE) if target.saturates]
    assert [scheme.weight_range for scheme in schemes if scheme] == ["reduced"]


def test_cuda_says_why_it_has_no_integers_and_what_to_do() -> None:
    target = load_target("cuda")
    assert target.integer is None
    assert "fp16" in target.integer_reason


def test_tensorrt_wants_zero_points_of_zero() -> None:
    target = load_target("tensorrt")
    assert target.integer
    assert target.integer.activation_symmetric


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(TargetError, match=r"unknown target 'x86-avx'; allowed: cpu, .*Did you mean 'x86-avx2'\?"):
        load_target("x86-avx")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        pytest.param("weights: int8", "weights: int9", "mine.yaml:5:31: integer.weights: must be 'int8'", id="weights"),
        pytest.param("CPUExec", "CPU", r"provider: String should match", id="provider"),
        pytest.param(
            "version: 1", "version: 1\nopset: 18", "opset: must be at least 19 where integer is given", id="opset"
        ),
        pytest.param(
            "version: 1",
            "version: 1\nopset: 20\nweight_storage: int4",
            "opset: must be at least 21 for INT4 weights, not 20",
            id="INT4",
        ),
        pytest.param("full}", "full, activation_symmetric: true}", "must be false with uint8", id="symmetric uint8"),
        pytest.param("{activations: uint8, weights: int8, weight_range: full}", "null", "must say why", id="no reason"),
        pytest.param("summary:", "sumary:", "Did you mean 'summary'", id="unknown key"),
        pytest.param(
            "version: 1", "version: 1\nir_version: 14", "ir_version: must be less than or equal to 13", id="IR version"
        ),
    ],
)
def test_a_wrong_file_is_refused_with_its_place(file: Path, old: str, new: str, said: str) -> None:
    file.write_text(RIGHT.replace(old, new), encoding="utf-8")
    with pytest.raises(TargetError, match=said):
        load_target(str(file))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match=r"none\.yaml: there is no such file"):
        load_target(str(tmp_path / "none.yaml"))


def test_the_schema_names_every_field() -> None:
    assert set(target_schema()["properties"]) == set(Target.__dataclass_fields__)
