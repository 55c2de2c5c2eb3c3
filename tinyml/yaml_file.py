"""The strict reading of YAML files: all that is wrong is told at once, each fault with its line, column and cure."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from tinyml.errors import TinymlError, did_you_mean
from tinyml.yaml_syntax import JSON, Fault, KeyPath, YamlReader

Model = TypeVar("Model")

# pydantic speaks of JSON; we speak of YAML.
WORDS = {
    "Input should be": "must be",
    "a valid array": "a list",
    "a valid list": "a list",
    "a valid tuple": "a list",
    "a valid dictionary": "a mapping",
    "an object": "a mapping",
    "a valid integer": "a whole number",
    "a valid number": "a number",
    "a valid string": "text",
    "a valid boolean": "true or false",
}


@dataclass(kw_only=True)
class Document:
    """A file's plain values, the place of each of them, and the faults found so far.

    `value` is None where the text is empty or did not parse. `places` maps a path of keys to "file:line:column".
    """

    source: str
    error: type[TinymlError]
    value: JSON
    places: dict[KeyPath, str]
    faults: list[Fault]

    def fault(self, path: KeyPath, text: str) -> None:
        """Note that the value at `path` is wrong."""
        key = ".".join(str(part) for part in path)
        self.faults.append(Fault(place=self._place(path), text=f"{key}: {text}" if key else text))

    def validate(self, schema: type[Model], value: JSON, path: KeyPath = ()) -> Model | None:
        """Return `value`, which stands at `path`, as a `schema`; None where it does not fit: `faults` then says why.

        Strict: true is no number, 1.0 is no whole number, "1" is no number; a whole number may stand for a float.
        Unknown keys are faults.
        """
        adapter = TypeAdapter(schema)
        try:
            return adapter.validate_json(json.dumps(value), strict=True, extra="forbid")
        except ValidationError as error:
            self._note_all(error.errors(include_url=False), json_schema(schema), value, path)
        except TinymlError as error:
            self.fault(path, str(error))
        return None

    def override(self, path: KeyPath, text: str, place: str) -> None:
        """Put the YAML `text` at `path`, whose place is from then on called `place`; mappings on the way are made."""
        reader = YamlReader(source=place, whole=True)
        new = reader.read(text)
        self.faults.extend(reader.faults)
        parent = self.value
        for depth, part in enumerate(path):
            last = depth == len(path) - 1
            if isinstance(parent, dict) and isinstance(part, str):
                parent[part] = new if last else _container(parent.get(part))
                parent = parent[part]
            elif isinstance(parent, list) and isinstance(part, int) and part < len(parent):
                parent[part] = new if last else _container(parent[part])
                parent = parent[part]
            else:
                known = f"{len(parent)} entries, from 0" if isinstance(parent, list) else "no keys"
                dotted = ".".join(str(name) for name in path[:depth])
                self.faults.append(Fault(place=place, text=f"there is no {part!r} in {dotted}; it has {known}"))
                return
        self.places = {known: where for known, where in self.places.items() if known[: len(path)] != path}
        self.places[path] = place

    def raise_faults(self) -> None:
        """Raise `error` with every fault, one a line, in the order of the file; do nothing where there is none."""
        if not self.faults:
            return
        lines = list(dict.fromkeys(str(fault) for fault in sorted(self.faults, key=_line_and_column)))
        if len(lines) == 1:
            raise self.error(lines[0])
        raise self.error("\n  ".join([f"{len(lines)} faults in {self.source}:", *lines]))

    def _place(self, path: KeyPath) -> str:
        while path not in self.places:
            path = path[:-1]
        return self.places[path]

    def _note_all(self, details: list[ErrorDetails], schema: Mapping[str, Any], value: JSON, path: KeyPath) -> None:
        """Say each of pydantic's errors in our words; the errors of a union's members about one value become one."""
        told: dict[KeyPath, list[str]] = {}
        for detail in details:
            inner = _inside(value, detail["loc"])
            if detail["type"] in ("missing", "missing_argument", "missing_keyword_only_argument"):
                told.setdefault((*inner, str(detail["loc"][-1])), []).append("missing, and it has no default")
            elif detail["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
                allowed = _allowed_keys(schema, inner[:-1])
                text = f"unknown key; allowed: {', '.join(allowed)}.{did_you_mean(str(inner[-1]), allowed)}"
                told.setdefault(inner, []).append(text)
            else:
                told.setdefault(inner, []).append(_expectation(detail))
        refused = {fault.place for fault in self.faults}
        for inner, texts in told.items():
            if self.places.get((*path, *inner)) in refused:
                continue  # the text there is wrong already: that it stands for nothing is no news
            shown = _at(value, inner)
            text = " or ".join(dict.fromkeys(texts)).replace(" or must be ", " or ")
            if text.startswith("must"):
                text = f"{text}, not {_show(shown)}.{_nearest(shown, text)}".removesuffix(".")
            self.fault((*path, *inner), text)


def parse_document(text: str, source: str, *, error: type[TinymlError]) -> Document:
    """Return `text` as a Document whose places are called `source`; its faults are kept, not raised."""
    reader = YamlReader(source=source)
    value = reader.read(text.removeprefix("\ufeff"))
    document = Document(source=source, error=error, value=value, places=reader.places, faults=reader.faults)
    if value is None and not reader.faults:
        document.fault((), "is empty")
    elif value is not None and not isinstance(value, dict):
        document.fault((), f"must be a mapping of keys to values, not {_show(value)}")
    return document


def read_document(path: Path, *, error: type[TinymlError]) -> Document:
    """Return the file as a Document.

    Raises:
        TinymlError: of the type `error`, where the file cannot be read or is not UTF-8.
    """
    try:
        return parse_document(path.read_bytes().decode("utf-8"), str(path), error=error)
    except FileNotFoundError as missing:
        raise error(f"{path}: there is no such file") from missing
    except OSError as failure:
        raise error(f"{path}: cannot be read: {failure.strerror}") from failure
    except UnicodeDecodeError as failure:
        byte = failure.object[failure.start]
        raise error(f"{path}: is not UTF-8 text: byte {failure.start} is 0x{byte:02x}") from failure


def parse_yaml(text: str, source: str, schema: type[Model], *, error: type[TinymlError]) -> Model:
    """Return `text` as a `schema`; all its faults are raised as one `error`, each as "source:line:column: key: ..."."""
    return _validated(parse_document(text, source, error=error), schema)


def read_yaml(path: Path, schema: type[Model], *, error: type[TinymlError]) -> Model:
    """Return the file at `path` as a `schema`; all its faults are raised as one `error`."""
    return _validated(read_document(path, error=error), schema)


def json_schema(schema: type[object]) -> dict[str, Any]:
    """Return the JSON Schema of what `Document.validate` takes for `schema`: objects allow no further keys."""
    return close_objects(TypeAdapter(schema).json_schema())


def close_objects(tree: dict[str, Any]) -> dict[str, Any]:
    """Forbid, in place, further keys in every object of a JSON Schema that names its keys; return the tree."""
    for definition in (tree, *tree.get("$defs", {}).values()):
        if "properties" in definition:
            definition["additionalProperties"] = False
    return tree


def _validated(document: Document, schema: type[Model]) -> Model:
    # A mapping is checked even where the text has faults of its own (a key twice), so that all are told at once.
    model = document.validate(schema, document.value) if isinstance(document.value, dict) else None
    document.raise_faults()
    if model is None:
        raise document.error(f"{document.source}: does not fit")
    return model


def _container(value: JSON) -> JSON:
    return {} if value is None else value


def _inside(value: JSON, path: tuple[str | int, ...]) -> KeyPath:
    """Return the part of pydantic's path that exists in `value`; its names for the members of a union do not."""
    found: list[str | int] = []
    for part in path:
        exists = part in value if isinstance(value, dict) else isinstance(value, list) and isinstance(part, int)
        if exists:
            value = _at(value, (part,))
            found.append(part)
    return tuple(found)


def _at(value: JSON, path: KeyPath) -> JSON:
    for part in path:
        if isinstance(value, dict):
            value = value.get(str(part))
        elif isinstance(value, list) and isinstance(part, int):
            value = value[part]
    return value


def _allowed_keys(schema: Mapping[str, Any], path: KeyPath) -> list[str]:
    """Return the keys that the JSON Schema allows at `path`, over all members of a union."""
    nodes: list[Mapping[str, Any]] = _members(schema, schema)
    for part in path:
        nodes = [member for node in nodes for child in _children(node, part) for member in _members(child, schema)]
    return list(dict.fromkeys(key for node in nodes for key in node.get("properties", {})))


def _members(node: Mapping[str, Any], root: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    if "$ref" in node:
        node = root["$defs"][node["$ref"].rsplit("/", 1)[-1]]
    union = node.get("anyOf") or node.get("oneOf")
    return [leaf for member in union for leaf in _members(member, root)] if union else [node]


def _children(node: Mapping[str, Any], part: str | int) -> list[Mapping[str, Any]]:
    if isinstance(part, int):
        return [child for child in (node.get("items"), *node.get("prefixItems", [])) if isinstance(child, dict)]
    child = node.get("properties", {}).get(part, node.get("additionalProperties"))
    return [child] if isinstance(child, dict) else []


def _expectation(detail: ErrorDetails) -> str:
    text = detail["msg"].removeprefix("Value error, ")
    for theirs, ours in WORDS.items():
        text = text.replace(theirs, ours)
    return text


def _nearest(value: JSON, text: str) -> str:
    return did_you_mean(value, re.findall(r"'([^']+)'", text)) if isinstance(value, str) else ""


def _show(value: JSON) -> str:
    if value is None:
        return "empty"
    shown = json.dumps(value, ensure_ascii=False)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."


def _line_and_column(fault: Fault) -> tuple[int, int]:
    numbers = re.search(r":(\d+):(\d+)$", fault.place)
    return (int(numbers[1]), int(numbers[2])) if numbers else (0, 0)
