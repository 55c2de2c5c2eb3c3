import logging
from pathlib import Path

import pytest

from tinyml.measure.latency_cache import cache_file, cached_table, keep_table, machine_facts
from tinyml.measure.latency_table import LatencyTable, RuntimeSettings
from tinyml.runtime.session import CPU, runtime_version

RUNTIME = RuntimeSettings(provider=CPU, threads=1)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def kept() -> Path:
    table = LatencyTable(lambda shapes: [1.0] * len(shapes))
    table.replace(reference_ms=2.0, entries={"a": 1.5})
    keep_table(table, RUNTIME)
    return cache_file(machine_facts(RUNTIME))


def test_a_table_is_kept_for_later_runs_in_the_users_cache(cache: Path):
    assert kept().parent == cache / "tinyml"
    table = cached_table(RUNTIME)
    assert (table.reference_ms, table.entries) == (2.0, {"a": 1.5})


@pytest.mark.parametrize(
    "other", [RuntimeSettings(provider=CPU, threads=2), RuntimeSettings(provider="Other", threads=1)], ids=str
)
def test_another_machine_has_another_table(other: RuntimeSettings):
    kept()
    assert cached_table(other).entries == {}


def test_the_machine_is_the_processor_the_runtime_and_its_settings():
    facts = machine_facts(RUNTIME)
    assert (facts["onnxruntime"], facts["provider"], facts["threads"]) == (runtime_version(), CPU, "1")
    assert facts["cpu"]


@pytest.mark.parametrize("damage", ["", "{", '{"entries": {}}'])
def test_a_damaged_table_is_made_anew(damage: str):
    path = kept()
    path.write_text(damage)
    assert cached_table(RUNTIME).entries == {}
    assert kept().read_text() != damage


def test_one_changed_number_is_noticed():
    path = kept()
    path.write_text(path.read_text().replace("1.5", "1.6"))
    assert cached_table(RUNTIME).entries == {}


def test_a_cache_that_cannot_be_written_is_told_and_does_not_stop_the_work(
    cache: Path, caplog: pytest.LogCaptureFixture
):
    (cache / "tinyml").write_text("a file where the folder should be")
    with caplog.at_level(logging.WARNING):
        kept()
    assert "not kept for later runs" in caplog.text


@pytest.mark.parametrize("value", ["", "relative/path"])
def test_without_an_absolute_cache_home_it_is_the_users_own(
    value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", value)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_file(machine_facts(RUNTIME)).parent == tmp_path / ".cache" / "tinyml"
