import os

import pytest

from tinyml.errors import OutputError
from tinyml.run_directory import RunDirectory

FINGERPRINT = {"recipe": "int8", "seed": "0"}


def check(path, *, overwrite=False, resume=False, fingerprint=FINGERPRINT, inputs=()):
    RunDirectory.check(path, overwrite=overwrite, resume=resume, fingerprint=fingerprint, inputs=inputs)


@pytest.fixture
def finished(tmp_path):
    with RunDirectory.create(tmp_path / "r", overwrite=False, resume=False, fingerprint=FINGERPRINT) as run:
        run.write("model.onnx", b"m")
        run.seal({})
    return tmp_path / "r"


@pytest.fixture
def unfinished(tmp_path):
    with RunDirectory.create(tmp_path / "r", overwrite=False, resume=False, fingerprint=FINGERPRINT) as run:
        run.write("model.onnx", b"m")
        run.finish("export")
    return tmp_path / "r"


def test_looking_writes_nothing(tmp_path):
    check(tmp_path / "new" / "r")
    assert list(tmp_path.iterdir()) == []


def test_an_empty_directory_may_be_used(tmp_path):
    check(tmp_path)


def test_a_finished_run_is_not_written_over(finished):
    with pytest.raises(OutputError, match=r"a finished run\. Add --overwrite") as caught:
        check(finished)
    assert caught.value.exit_code == 2
    check(finished, overwrite=True)
    check(finished, resume=True)


def test_an_unfinished_run_is_resumed_or_overwritten_only_when_asked(unfinished):
    with pytest.raises(OutputError, match=r"an unfinished run\. Add --resume"):
        check(unfinished)
    check(unfinished, overwrite=True)
    check(unfinished, resume=True)


def test_an_unfinished_run_of_other_settings_is_not_offered_to_be_resumed(unfinished):
    with pytest.raises(
        OutputError, match=r"an unfinished run\. Add --overwrite to start anew \(--resume goes on with the"
    ):
        check(unfinished, fingerprint={"recipe": "int4"})


@pytest.mark.parametrize("state", ["finished", "unfinished"])
def test_another_run_is_not_resumed_and_what_changed_is_named(request, state):
    path = request.getfixturevalue(state)
    with pytest.raises(OutputError, match=r"recipe was int8, is int4; threads was not set, is 1") as caught:
        check(path, resume=True, fingerprint={"recipe": "int4", "seed": "0", "threads": "1"})
    assert "--overwrite" in str(caught.value)
    check(path, resume=True, overwrite=True, fingerprint={"recipe": "int4"})


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("resume", [False, True])
def test_a_directory_of_somebody_else_is_left_alone(tmp_path, overwrite, resume):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(OutputError, match="no run directory of tinyml"):
        check(tmp_path, overwrite=overwrite, resume=resume)


def test_a_run_with_a_damaged_manifest_is_left_alone(finished):
    (finished / "manifest.json").write_text("{}")
    with pytest.raises(OutputError, match="damaged"):
        check(finished, overwrite=True)


@pytest.mark.parametrize("state", ["finished", "unfinished"])
def test_files_that_a_user_put_there_are_not_removed(request, state):
    path = request.getfixturevalue(state)
    (path / "notes.txt").touch()
    with pytest.raises(OutputError, match=r"did not write: notes\.txt"):
        check(path, overwrite=True)


def test_an_output_that_is_or_holds_an_input_is_refused(finished):
    for source in (finished, finished / "model.onnx"):
        with pytest.raises(OutputError, match="is or holds the input"):
            check(finished, overwrite=True, inputs=[source])


def test_nothing_is_written_into_a_sealed_run(finished):
    with pytest.raises(OutputError, match="is sealed"):
        check(finished / "inner" / "r")


def test_a_file_is_no_directory(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="is a file"):
        check(tmp_path / "file", overwrite=True)
    with pytest.raises(OutputError, match="is a file"):
        check(tmp_path / "file" / "r")


def test_a_place_without_permission_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(OutputError, match="may not write"):
        check(tmp_path / "r")


def test_a_name_that_is_too_long_is_refused(tmp_path):
    with pytest.raises(OutputError, match="too long"):
        check(tmp_path / ("n" * 300))


def test_a_link_to_a_run_is_that_run(finished, tmp_path):
    (tmp_path / "link").symlink_to(finished)
    with pytest.raises(OutputError, match="a finished run"):
        check(tmp_path / "link")
