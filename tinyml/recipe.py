"""Recipes: which passes a network goes through, in which order, with which settings."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from tinyml.errors import RecipeError, did_you_mean
from tinyml.passes import PASSES, Pass
from tinyml.recipe_order import order_faults, unfinished_faults
from tinyml.shipped import shipped_files
from tinyml.yaml_file import Document, close_objects, read_document
from tinyml.yaml_syntax import JSON
from tinyml.yaml_text import dump_yaml


@dataclass(frozen=True, kw_only=True)
class PassEntry:
    """One step of a recipe: a pass with its settings.

    Attributes:
        name: of the pass in PASSES.
        settings: the pass itself; its fields are the settings.
    """

    name: str
    settings: Pass


@dataclass(frozen=True, kw_only=True)
class ExportSettings:
    """What the file is like.

    Attributes:
        input: normalised float32 (N, C, H, W), or uint8 (N, H, W, C) pixels.
        nonzeros: weights with many zeros or few distinct values are stored in fewer bytes. 'exact' changes none of
            them; 'float16' rounds those that stand behind a bit mask without a codebook; 'dense' stores every weight
            as it is, for a runtime that computes on every run what onnxruntime computes once, when it loads a file.
    """

    input: Literal["float32", "uint8"] = "float32"
    nonzeros: Literal["exact", "float16", "dense"] = "exact"


@dataclass(frozen=True, kw_only=True)
class Gates:
    """What the result must reach, else the exit code is 3; None leaves the default of `verify`.

    Attributes:
        max_drop_points: accuracy below the baseline's, in percentage points.
        agreement: share of inputs on which network and file give the same answer (0-1).
    """

    max_drop_points: Annotated[float, Field(ge=0, le=100)] | None = None
    agreement: Annotated[float, Field(ge=0, le=1)] | None = None


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The passes in their order, and what the result must reach."""

    version: Literal[1] = 1
    name: str
    seed: int = 0
    passes: tuple[PassEntry, ...] = ()
    export: ExportSettings = field(default_factory=ExportSettings)
    gates: Gates = field(default_factory=Gates)

    @property
    def files(self) -> tuple[Path, ...]:
        """The files and directories that settings of the passes name: what a run reads besides its checkpoint."""
        return tuple(path for entry in self.passes for path in _paths_in(entry.settings))


@dataclass(frozen=True, kw_only=True)
class RecipeFile:
    """A recipe file before its passes are looked at one by one."""

    version: Literal[1]
    name: Annotated[str, Field(min_length=1, max_length=100)]
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    passes: tuple[object, ...] = ()
    export: ExportSettings = field(default_factory=ExportSettings)
    gates: Gates = field(default_factory=Gates)


def load_recipe(spec: str, overrides: Sequence[str] = ()) -> Recipe:
    """Return the shipped recipe of this name, or the one in this YAML file.

    Args:
        spec: a name or a path that ends in .yaml or .yml.
        overrides: "passes.0.calibration.images=256" each; the pass's name may be left out of the key.

    Raises:
        RecipeError: with every fault of the file and the overrides, each with its place.
    """
    files = shipped_files("recipes")
    if not spec.endswith((".yaml", ".yml")) and spec not in files:
        raise RecipeError(
            f"unknown recipe {spec!r}; allowed: {', '.join(files)}, or a .yaml file.{did_you_mean(spec, files)}"
        )
    document = read_document(files.get(spec, Path(spec)), error=RecipeError)
    if not isinstance(document.value, dict):
        document.raise_faults()
    for override in overrides:
        _override(document, override)
    frame = document.validate(RecipeFile, document.value)
    entries = _entries(document)
    for index, text in order_faults([(entry.name, entry.settings.role) if entry else None for entry in entries]):
        document.fault(("passes", index), text)
    for index, text in unfinished_faults([entry.settings if entry else None for entry in entries]):
        document.fault(("passes", index), text)
    document.raise_faults()
    if frame is None:
        raise RecipeError(f"{document.source}: is no recipe")
    passes = tuple(entry for entry in entries if entry is not None)
    return Recipe(name=frame.name, seed=frame.seed, passes=passes, export=frame.export, gates=frame.gates)


def load_gates(file: Path) -> Gates:
    """Return the gates of a recipe file. Its passes are not looked at: those of a Python program may be its own.

    Raises:
        RecipeError: with every fault of the file but those of its passes.
    """
    document = read_document(file, error=RecipeError)
    frame = document.validate(RecipeFile, document.value)
    document.raise_faults()
    assert frame is not None  # what is None has a fault
    return frame.gates


def resolved_yaml(recipe: Recipe) -> str:
    """Return the recipe as YAML with every default spelled out; `load_recipe` reads it back as equal."""
    return dump_yaml(_values(recipe))


def recipe_facts(recipe: Recipe) -> dict[str, str]:
    """Return every value of the resolved recipe as text by its dotted key: {"passes.0.fine_tuning.epochs": "5"}."""
    return dict(_leaves(_values(recipe)))


def recipe_schema() -> dict[str, Any]:
    """Return the JSON Schema of recipe files, with the settings of every pass."""
    adapters = {"": TypeAdapter(RecipeFile), **{name: TypeAdapter(kind) for name, kind in PASSES.items()}}
    inputs = [(name, "validation", adapter) for name, adapter in adapters.items()]
    schemas, definitions = TypeAdapter.json_schemas(inputs, title="tinyml recipe")  # type: ignore[arg-type]  # str key
    entries: list[dict[str, Any]] = [{"enum": list(PASSES), "description": "a pass with its default settings"}]
    for name in PASSES:
        settings = schemas[name, "validation"]
        entries.append(
            {"type": "object", "properties": {name: settings}, "required": [name], "additionalProperties": False}
        )
    tree = {**definitions, "$ref": schemas["", "validation"]["$ref"]}
    frame = tree["$defs"][tree["$ref"].rsplit("/", 1)[-1]]
    frame["properties"]["passes"]["items"] = {"anyOf": entries}
    return close_objects(tree)


def _values(recipe: Recipe) -> dict[str, JSON]:
    values: dict[str, JSON] = {"version": recipe.version, "name": recipe.name, "seed": recipe.seed}
    values["passes"] = [{entry.name: _settings_values(entry.settings)} for entry in recipe.passes]
    return {**values, "export": asdict(recipe.export), "gates": asdict(recipe.gates)}


def _leaves(value: JSON, place: str = "") -> Iterator[tuple[str, str]]:
    """Yield (dotted key, value) for everything inside that holds nothing further."""
    inside = list(value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else [])
    if not inside:
        yield place, repr(value)
    for key, entry in inside:
        yield from _leaves(entry, f"{place}.{key}".lstrip("."))


def _paths_in(value: object) -> Iterator[Path]:
    """Yield every path that a dataclass, a mapping or a tuple holds, however deep."""
    inside: Iterable[object] = ()
    if isinstance(value, Path):
        yield value
    elif is_dataclass(value):
        inside = (getattr(value, each.name) for each in fields(value))
    elif isinstance(value, Mapping):
        inside = value.values()
    elif isinstance(value, tuple):
        inside = value
    for each in inside:
        yield from _paths_in(each)


def _settings_values(settings: Pass) -> JSON:
    values: JSON = TypeAdapter[Pass](type(settings)).dump_python(settings, mode="json")
    return values


def _override(document: Document, override: str) -> None:
    """Apply "key.key=value" to the document; a fault names the override."""
    place = f"--set {override}"
    key, equals, text = override.partition("=")
    parts = re.findall(r'"([^"]+)"|([^."]+)', key)
    path = [quoted or (int(plain) if plain.isdecimal() else plain) for quoted, plain in parts]
    if not (equals and path and text.strip()):
        raise RecipeError(
            f"{place}: write KEY=VALUE, such as passes.0.calibration.images=256 or gates.max_drop_points=1"
        )
    entries = document.value.get("passes") if isinstance(document.value, dict) else None
    if path[0] == "passes" and len(path) > 2 and isinstance(entries, list) and path[1] in range(len(entries)):
        index = int(path[1])
        entry = entries[index]
        if isinstance(entry, str):
            entry = entries[index] = {entry: {}}
        if isinstance(entry, dict) and len(entry) == 1 and path[2] not in entry:
            path.insert(2, next(iter(entry)))
    document.override(tuple(path), text, place)


def _entries(document: Document) -> list[PassEntry | None]:
    """Return the passes of the document; None stands where one is wrong (the document then holds the faults)."""
    values = document.value.get("passes") if isinstance(document.value, dict) else None
    return [_entry(document, index, value) for index, value in enumerate(values if isinstance(values, list) else [])]


def _entry(document: Document, index: int, value: JSON) -> PassEntry | None:
    here = ("passes", index)
    settings: JSON = {}
    if isinstance(value, dict) and len(value) > 1:
        keys = ", ".join(value)
        document.fault(here, f"an entry is one pass, not {len(value)} keys ({keys}); indent settings below their pass")
        return None
    if isinstance(value, dict) and value:
        name, settings = next(iter(value.items()))
    elif isinstance(value, str):
        name = value
    else:
        document.fault(here, f"must be a pass, such as '- linear_quantization: {{weight_bits: 8}}', not {value!r}")
        return None
    if name not in PASSES:
        document.fault((*here, name), f"unknown pass; allowed: {', '.join(PASSES)}.{did_you_mean(name, PASSES)}")
        return None
    checked = document.validate(PASSES[name], {} if settings is None else settings, (*here, name))
    return None if checked is None else PassEntry(name=name, settings=checked)
