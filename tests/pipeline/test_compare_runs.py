"""Finished runs side by side."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tinyml.data import Split, Task
from tinyml.errors import CheckpointError, DataError, UsageError
from tinyml.manifest import MANIFEST_NAME, read_manifest, write_manifest
from tinyml.pipeline.compare_runs import churn_of_runs, comparison_notes, read_runs, time_together
from tinyml.progress import Silent
from tinyml.report.run_facts import bits_per_weight, score_of
from tinyml.report.run_rows import numbers

Copy = Callable[[str], Path]


@pytest.fixture
def copy(int8_run: Path, tmp_path: Path) -> Copy:
    """Copies of a run that may be changed."""
    return lambda name: Path(shutil.copytree(int8_run, tmp_path / name))


def seal_again(run: Path) -> Path:
    """Seal a run anew after its files were changed."""
    manifest = read_manifest(run)
    (run / MANIFEST_NAME).unlink()
    write_manifest(run, fingerprint=manifest.fingerprint, fields=manifest.fields)
    return run


def without_score(run: Path) -> Path:
    """Make it a run without data."""
    metrics = json.loads((run / "metrics.json").read_text())
    for entries in metrics.values():
        entries.pop("accuracy")
    metrics["model"].pop("accuracy_difference")
    (run / "metrics.json").write_text(json.dumps(metrics))
    return seal_again(run)


def of_other_weights(run: Path) -> Path:
    """Make it a run of another network, as far as hashes tell."""
    (run / "baseline" / "model.safetensors").write_bytes(b"others")
    return seal_again(run)


def with_detail(run: Path, metric: str, key: str, value: str) -> Path:
    """Change a detail of a measurement, of baseline and model."""
    metrics = json.loads((run / "metrics.json").read_text())
    for entries in metrics.values():
        entries[metric]["details"][key] = value
    (run / "metrics.json").write_text(json.dumps(metrics))
    return seal_again(run)


def depths_of(folder: Path, task: Task) -> Path:
    """Write a folder as `tinyml difficulty` does: every second example is hard, and its network knows no zeros."""
    assert task.test is not None
    folder.mkdir()
    indices, labels = np.arange(len(task.test)), task.test.y
    arrays = {"indices": indices, "depth": indices % 2, "label": labels, "prediction": np.where(labels, labels, 1)}
    np.savez(folder / "depths.npz", **{f"test_{name}": values for name, values in arrays.items()})
    write_manifest(folder, fingerprint={}, fields={})
    return folder


def test_a_run_tells_what_it_sealed(int8_run: Path) -> None:
    (group,) = read_runs([int8_run])
    row = numbers(group.runs[0], group)
    metrics = json.loads((int8_run / "metrics.json").read_text())
    assert (row["kind"], row["target"], row["label"], row["checks"]) == ("linear", "x86-avx2", int8_run.name, "passed")
    assert row["size_bytes"] == (int8_run / "model.onnx").stat().st_size
    assert row["score_value"] == metrics["model"]["accuracy"]["value"]
    assert (group.model, group.data) == ("lenet-digits", "digits, test split")


def test_int8_takes_eight_bits_a_weight_and_what_scales_and_biases_take(int8_run: Path) -> None:
    (group,) = read_runs([int8_run])
    before, after = bits_per_weight(group.before), bits_per_weight(group.runs[0].after)
    assert (before, after) == (32, pytest.approx(8.3, abs=0.1))  # 320 scales and biases of 32 bits for 38,160 weights


def test_runs_of_one_network_stand_together(int8_run: Path, copy: Copy) -> None:
    (group,) = read_runs([int8_run, copy("second")])
    assert [run.number for run in group.runs] == [1, 2]
    assert comparison_notes([group], {}) == ()


def test_another_network_is_a_group_of_its_own_and_a_note_says_so(int8_run: Path, copy: Copy) -> None:
    groups = read_runs([int8_run, of_other_weights(copy("other")), copy("third")])
    assert [[run.number for run in group.runs] for group in groups] == [[1, 3], [2]]
    assert "2 baselines" in comparison_notes(groups, {})[0]


def test_other_data_is_a_group_of_its_own(int8_run: Path, copy: Copy) -> None:
    other = with_detail(copy("other"), "accuracy", "fingerprint", "1234")
    assert len(read_runs([int8_run, other])) == 2


def test_a_run_without_a_score_joins_its_network(int8_run: Path, copy: Copy) -> None:
    (group,) = read_runs([without_score(copy("unscored")), int8_run])
    assert score_of(group.before) is not None
    assert [score_of(run.after) is None for run in group.runs] == [True, False]
    assert "no score" in comparison_notes([group], {})[0]


def test_runs_without_any_score_are_one_group(copy: Copy) -> None:
    (group,) = read_runs([without_score(copy("a")), without_score(copy("b"))])
    assert (len(group.runs), group.data) == (2, "")


def test_latencies_of_several_machines_are_noted(int8_run: Path, copy: Copy) -> None:
    other = with_detail(copy("other"), "latency_ms", "cpu", "another CPU")
    (note,) = comparison_notes(read_runs([int8_run, other]), {})
    assert "another CPU" in note


def test_folders_of_one_name_are_called_by_their_paths(copy: Copy, tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    first, second = copy("run"), copy("more/run")
    (group,) = read_runs([first, second])
    assert [run.label for run in group.runs] == [str(first), str(second)]


def test_a_run_given_twice_is_refused(int8_run: Path) -> None:
    with pytest.raises(UsageError, match="given twice"):
        read_runs([int8_run, int8_run / "." / "baseline" / ".."])


def test_what_is_no_finished_run_is_refused(copy: Copy, tmp_path: Path) -> None:
    damaged = copy("damaged")
    (damaged / "model.onnx").write_bytes(b"other")
    with pytest.raises(CheckpointError, match="was changed"):
        read_runs([damaged])
    with pytest.raises(CheckpointError, match=r"no manifest\.json"):
        read_runs([tmp_path])


def test_what_another_verb_sealed_is_refused(tmp_path: Path) -> None:
    write_manifest(tmp_path, fingerprint={}, fields={})
    with pytest.raises(CheckpointError, match=r"holds no metrics\.json: it is no run of tinyml compress"):
        read_runs([tmp_path])


def test_churn_adds_up_to_what_the_run_measured(int8_run: Path, digits: Task, tmp_path: Path) -> None:
    groups = read_runs([int8_run])
    folder = depths_of(tmp_path / "difficulty", digits)
    churn = churn_of_runs(groups, folder, task=digits, threads=1, progress=Silent())
    (found,) = churn.values()
    measured = groups[0].runs[0].after["accuracy_difference"]
    counts = (len(found.total.gained), len(found.total.lost), found.total.n)
    assert counts == (measured.details["gained"], measured.details["lost"], measured.n)
    assert [row.depth for row in found.by_depth] == [0, 1]
    assert "of another network" in comparison_notes(groups, churn)[0]
    assert all(index % 2 == row.depth for row in found.by_depth for index in (*row.lost, *row.gained))


def test_churn_wants_classes(int8_run: Path, tmp_path: Path) -> None:
    x = np.zeros((2, 1, 8, 8), np.float32)
    test = Split(x=x, y=np.array([0, 1]), source="zeros")
    anomalies = Task(name="r", kind="reconstruction", input_shape=(1, 8, 8), classes=("normal", "odd"), test=test)
    with pytest.raises(DataError, match="reconstruction"):
        churn_of_runs(read_runs([int8_run]), tmp_path, task=anomalies, threads=1, progress=Silent())


def test_all_files_are_timed_in_one_run(int8_run: Path, copy: Copy) -> None:
    groups = read_runs([int8_run, copy("second")])
    timed = time_together(groups, task=None, threads=1, seed=0, progress=Silent())
    assert list(timed) == [f"baseline of {int8_run.name}", int8_run.name, "second"]
    assert {tuple(measured) for measured in timed.values()} == {("latency_ms", "latency_ratio")}
    assert (
        timed["second"]["latency_ratio"].details["control"] == timed[int8_run.name]["latency_ratio"].details["control"]
    )
