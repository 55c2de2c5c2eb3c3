import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tinyml.errors import OutputError, TinymlError
from tinyml.manifest import is_sealed, read_manifest, verify_manifest
from tinyml.run_directory import RunDirectory
from tinyml.run_directory.preparation import prepare

FINGERPRINT = {"recipe": "int8", "seed": "0"}


def create(path, *, overwrite=False, resume=False, fingerprint=FINGERPRINT, inputs=()):
    return RunDirectory.create(path, overwrite=overwrite, resume=resume, fingerprint=fingerprint, inputs=inputs)


def complete(path, content=b"model", **options):
    with create(path, **options) as run:
        run.write("baseline/model.onnx", content)
        run.history({"event": "export"})
        run.finish("export")
        run.seal({"threads": 1})


def interrupted(path, **options):
    """Leave a run whose first step is finished and whose second is half done."""
    run = create(path, **options)
    run.write("a.bin", b"a")
    run.history({"event": "first"})
    (run.work("first") / "table.json").write_text("kept")
    run.finish("first")
    run.write("b.bin", b"half")
    run.history({"event": "second"})
    (run.work("second") / "table.json").write_text("discarded")
    run.store("second").save(b"epoch 3")
    run.close()


def content_of(path):
    return {name.relative_to(path).as_posix(): name.read_bytes() for name in path.rglob("*") if name.is_file()}


def test_a_sealed_run_holds_its_files_and_nothing_else(tmp_path):
    path = tmp_path / "прогон" / "r20"
    complete(path)
    assert set(content_of(path)) == {"baseline/model.onnx", "history.jsonl", "manifest.json"}
    assert verify_manifest(path) == []
    assert read_manifest(path).fields == {"threads": 1}
    assert [entry.name for entry in path.parent.iterdir()] == ["r20"]


def test_nothing_is_written_after_the_seal(tmp_path):
    run = create(tmp_path / "r")
    run.seal({})
    with pytest.raises(OutputError, match="is finished"):
        run.write("a", b"")


def test_a_run_that_ends_before_its_first_step_leaves_nothing(tmp_path):
    with create(tmp_path / "a" / "b") as run:
        run.write("recipe.yaml", b"x")
        run.history({"event": "started"})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["../a", "/a", ".work/a", "manifest.json", ""])
def test_files_stay_inside_the_run(tmp_path, name):
    with create(tmp_path / "r") as run, pytest.raises(ValueError, match="no name"):
        run.write(name, b"")


def test_an_interrupted_run_goes_on_after_its_last_step(tmp_path):
    interrupted(tmp_path / "r")
    with create(tmp_path / "r", resume=True) as run:
        assert run.is_resumed
        assert (run.done("first"), run.done("second")) == (True, False)
        assert not (tmp_path / "r" / "b.bin").exists()
        assert (run.work("first") / "table.json").read_text() == "kept"
        assert list(run.work("second").iterdir()) == []
        assert run.store("second").load() == b"epoch 3"
        run.write("b.bin", b"b")
        run.history({"event": "second"})
        run.finish("second")
        run.seal({})
    events = [json.loads(line)["event"] for line in (tmp_path / "r" / "history.jsonl").read_text().splitlines()]
    assert events == ["first", "second"]
    assert verify_manifest(tmp_path / "r") == []


def test_a_finished_step_whose_file_was_changed_is_done_again(tmp_path):
    interrupted(tmp_path / "r")
    (tmp_path / "r" / "a.bin").write_bytes(b"changed")
    with create(tmp_path / "r", resume=True) as run:
        assert not run.done("first")
        assert not (tmp_path / "r" / "a.bin").exists()


def test_a_later_step_may_write_a_file_again(tmp_path):
    run = create(tmp_path / "r")
    for step in ("one", "two"):
        run.write("metrics.json", step.encode())
        run.finish(step)
    run.close()
    with create(tmp_path / "r", resume=True) as again:
        assert (again.done("one"), again.done("two")) == (True, True)


def test_the_state_of_a_step_ends_with_it(tmp_path):
    with create(tmp_path / "r") as run:
        assert run.store("train").load() is None
        run.store("train").save(b"1")
        run.finish("train")
        assert run.store("train").load() is None


def test_resuming_a_finished_run_says_so_and_writes_nothing(tmp_path):
    complete(tmp_path / "r")
    before = content_of(tmp_path / "r")
    with create(tmp_path / "r", resume=True) as run:
        assert run.is_done
        with pytest.raises(OutputError):
            run.write("a", b"")
    assert content_of(tmp_path / "r") == before


def test_resuming_where_nothing_is_starts_anew(tmp_path):
    complete(tmp_path / "r", resume=True)
    assert is_sealed(tmp_path / "r")


def test_overwriting_leaves_the_old_run_until_the_new_one_is_sealed(tmp_path):
    complete(tmp_path / "r", b"old")
    before = content_of(tmp_path / "r")
    with create(tmp_path / "r", overwrite=True) as run:
        run.write("model.onnx", b"new")
        run.finish("export")
        assert content_of(tmp_path / "r") == before
        run.seal({})
    assert set(content_of(tmp_path / "r")) == {"model.onnx", "manifest.json"}
    assert [entry.name for entry in tmp_path.iterdir()] == ["r"]


def test_an_overwriting_run_that_comes_to_nothing_leaves_the_old_one(tmp_path):
    complete(tmp_path / "r", b"old")
    before = content_of(tmp_path / "r")
    with create(tmp_path / "r", overwrite=True) as run:
        run.write("model.onnx", b"new")
    assert content_of(tmp_path / "r") == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["r"]


def test_an_overwriting_run_can_be_resumed(tmp_path):
    complete(tmp_path / "r", b"old", fingerprint={"recipe": "other"})
    interrupted(tmp_path / "r", overwrite=True)
    with create(tmp_path / "r", resume=True) as run:
        assert run.done("first")
        run.seal({})
    assert set(content_of(tmp_path / "r")) == {"a.bin", "history.jsonl", "manifest.json"}
    assert [entry.name for entry in tmp_path.iterdir()] == ["r"]


def test_an_abandoned_overwriting_run_is_started_anew(tmp_path):
    complete(tmp_path / "r", b"old")
    interrupted(tmp_path / "r", overwrite=True)
    with create(tmp_path / "r", overwrite=True) as run:
        assert not run.done("first")
        run.seal({})
    assert set(content_of(tmp_path / "r")) == {"manifest.json"}


def test_an_exchange_that_was_killed_half_way_is_finished(tmp_path):
    complete(tmp_path / "r", b"old")
    complete(tmp_path / "new", b"new")
    (tmp_path / "r").rename(tmp_path / ".r.tinyml-old")
    (tmp_path / "new").rename(tmp_path / ".r.tinyml-new")
    assert create(tmp_path / "r", resume=True).is_done
    assert (tmp_path / "r" / "baseline" / "model.onnx").read_bytes() == b"new"
    assert [entry.name for entry in tmp_path.iterdir()] == ["r"]


def fill_after(monkeypatch, writes):
    """Let the disk be full after so many flushes."""
    real, count = os.fsync, iter(range(writes))

    def fsync(descriptor):
        if next(count, None) is None:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)


@pytest.mark.parametrize("writes", range(13))
def test_a_disk_that_fills_at_any_moment_is_one_line_and_loses_nothing(tmp_path, monkeypatch, writes):
    complete(tmp_path / "r", b"old")
    before = content_of(tmp_path / "r")
    with monkeypatch.context() as patch:
        fill_after(patch, writes)
        with pytest.raises(TinymlError, match="disk is full") as caught:
            complete(tmp_path / "r", b"new", overwrite=True)
    assert caught.value.exit_code == 1
    assert "\n" not in str(caught.value)
    assert content_of(tmp_path / "r") == before
    complete(tmp_path / "r", b"new", overwrite=True)
    assert (tmp_path / "r" / "baseline" / "model.onnx").read_bytes() == b"new"


@pytest.fixture
def small_disk(tmp_path):
    place = tmp_path / "small"
    place.mkdir()
    if shutil.which("mount") is None:
        pytest.skip("there is no mount command")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", place], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("mounting a tmpfs is not permitted here")
    yield place
    subprocess.run(["umount", place], check=True)


def test_a_real_full_disk_is_one_line_and_loses_nothing(small_disk):
    complete(small_disk / "r", b"old")
    before = content_of(small_disk / "r")
    with pytest.raises(TinymlError, match="disk is full"):
        complete(small_disk / "r", bytes(300_000), overwrite=True)
    assert content_of(small_disk / "r") == before


def test_a_read_only_disk_is_refused_before_work_begins(small_disk):
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(OutputError, match="Cannot write") as caught:
        create(small_disk / "r")
    assert caught.value.exit_code == 2


HOLDER = """
    import sys, time
    from pathlib import Path
    from tinyml.run_directory import RunDirectory
    run = RunDirectory.create(Path(sys.argv[1]), overwrite=False, resume=False, fingerprint={"recipe": "int8", "seed": "0"})
    run.write("a.bin", b"a")
    run.history({"event": "first"})
    run.finish("first")
    run.write("b.bin", b"half")
    run.store("second").save(b"epoch 3")
    print("ready", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def other_process(tmp_path):
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", textwrap.dedent(HOLDER), str(tmp_path / "r")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


@pytest.mark.parametrize(("overwrite", "resume"), [(True, False), (False, True), (True, True)])
def test_a_second_process_is_told_who_is_at_work(tmp_path, other_process, overwrite, resume):
    with pytest.raises(OutputError, match=f"in use by process {other_process.pid} on"):
        create(tmp_path / "r", overwrite=overwrite, resume=resume)
    assert other_process.poll() is None
    assert [entry.name for entry in tmp_path.iterdir()] == ["r"]


def test_a_killed_process_frees_the_run_and_it_goes_on(tmp_path, other_process):
    os.kill(other_process.pid, signal.SIGKILL)
    other_process.wait()
    with create(tmp_path / "r", resume=True) as run:
        assert run.done("first")
        assert run.store("second").load() == b"epoch 3"
        assert sorted(content_of(tmp_path / "r")).count("b.bin") == 0
        run.seal({})
    assert set(content_of(tmp_path / "r")) == {"a.bin", "history.jsonl", "manifest.json"}


def test_ctrl_c_while_a_run_begins_leaves_nothing(tmp_path, monkeypatch):
    def begun(*arguments):
        prepare(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr("tinyml.run_directory.directory.prepare", begun)
    with pytest.raises(KeyboardInterrupt):
        create(tmp_path / "a" / "r")
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_while_a_run_is_resumed_keeps_it(tmp_path, monkeypatch):
    def begun(*_):
        raise KeyboardInterrupt

    interrupted(tmp_path / "r")
    monkeypatch.setattr("tinyml.run_directory.directory.prepare", begun)
    with pytest.raises(KeyboardInterrupt):
        create(tmp_path / "r", resume=True)
    assert (tmp_path / "r" / "a.bin").read_bytes() == b"a"
