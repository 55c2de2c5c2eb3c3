import pytest

from tinyml.errors import OutputError
from tinyml.manifest import is_sealed, read_manifest, verify_manifest, write_manifest


@pytest.fixture
def sealed(tmp_path):
    (tmp_path / "baseline").mkdir()
    (tmp_path / "model.onnx").write_bytes(b"abc")
    (tmp_path / "baseline" / "model.onnx").write_bytes(b"longer")
    write_manifest(tmp_path, fingerprint={"seed": "0"}, fields={"threads": 1})
    return tmp_path


def test_the_manifest_lists_every_file_with_its_hash_and_size(sealed):
    manifest = read_manifest(sealed)
    assert {name: fact.size_bytes for name, fact in manifest.files.items()} == {
        "model.onnx": 3,
        "baseline/model.onnx": 6,
    }
    assert manifest.files["model.onnx"].sha256.startswith("ba7816bf8f01cfea")
    assert (manifest.fingerprint, manifest.fields) == ({"seed": "0"}, {"threads": 1})


def test_an_untouched_directory_has_no_problems(sealed):
    assert is_sealed(sealed)
    assert verify_manifest(sealed) == []


def test_missing_changed_and_added_files_are_named(sealed):
    (sealed / "model.onnx").write_bytes(b"abd")
    (sealed / "baseline" / "model.onnx").unlink()
    (sealed / "notes.txt").touch()
    assert verify_manifest(sealed) == [
        "'baseline/model.onnx' is missing.",
        "'model.onnx' was changed: its SHA-256 does not match.",
        "'notes.txt' is not in the manifest.",
    ]


def test_a_changed_size_is_named(sealed):
    (sealed / "model.onnx").write_bytes(b"abcd")
    assert verify_manifest(sealed) == ["'model.onnx' was changed: 4 bytes, written were 3."]


def test_a_changed_manifest_is_noticed(sealed):
    path = sealed / "manifest.json"
    path.write_text(path.read_text().replace('"threads": 1', '"threads": 2'))
    assert "SHA-256 does not match" in verify_manifest(sealed)[0]
    assert not is_sealed(sealed)


def test_the_manifest_of_something_else_is_not_ours(tmp_path):
    (tmp_path / "manifest.json").write_text('{"name": "web app"}')
    assert not is_sealed(tmp_path)
    with pytest.raises(OutputError, match="tinyml did not write it"):
        read_manifest(tmp_path)
