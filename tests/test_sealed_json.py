import json

import pytest

from tinyml.errors import CheckpointError
from tinyml.sealed_json import from_sealed_json, read_sealed_json, to_sealed_json, write_sealed_json


def test_what_was_written_is_read(tmp_path):
    payload = {"name": "größe", "zeros": "0" * 64, "list": [1, 2.5, None]}
    write_sealed_json(tmp_path / "a.json", payload)
    assert read_sealed_json(tmp_path / "a.json", error=CheckpointError) == payload
    assert json.loads((tmp_path / "a.json").read_text())["name"] == "größe"


def test_a_file_name_that_is_not_utf8_is_kept(tmp_path):
    name = b"caf\xe9.pt".decode("utf-8", "surrogateescape")
    write_sealed_json(tmp_path / "a.json", {"checkpoint": name})
    assert read_sealed_json(tmp_path / "a.json", error=CheckpointError) == {"checkpoint": name}


def test_every_changed_character_is_noticed(tmp_path):
    text = to_sealed_json({"a": [1, 2], "b": "x"})
    for position, character in enumerate(text):
        changed = text[:position] + ("7" if character != "7" else "8") + text[position + 1 :]
        with pytest.raises(CheckpointError):
            from_sealed_json(changed, source=tmp_path, error=CheckpointError)


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{}", b'{"sha256": ""}', b'{"sha256": 3}', b"\xff\xfe", b"[" * 100_000, b"null"],
    ids=lambda content: repr(content[:12]),
)
def test_anything_else_is_refused(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged"):
        read_sealed_json(tmp_path / "a.json", error=CheckpointError)


def test_the_key_of_the_digest_is_taken():
    with pytest.raises(ValueError, match="sha256"):
        to_sealed_json({"sha256": "mine"})
