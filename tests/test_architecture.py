"""The shape of the source: rooms import one way, a library has one door, files stay small."""

import ast
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "tinyml"

# Each room may import those before it.
ROOMS = [
    "errors",
    "progress",
    "torchrun",
    "files",
    "sealed_json",
    "manifest",
    "yaml_syntax",
    "yaml_text",
    "yaml_file",
    "shipped",
    "factory",
    "numerics",
    "graph",
    "layers",
    "runtime",
    "models",
    "data",
    "target",
    "architecture",
    "checkpoint",
    "training",
    "export",
    "measure",
    "verification",
    "importance",
    "passes",
    "recipe_order",
    "recipe",
    "run_directory",
    "analysis",
    "report",
    "pipeline",
    "cli",
]

# library -> where alone it may be imported
DOORS: dict[str, tuple[str, ...]] = {
    "click": ("cli/",),
    "filelock": ("run_directory",),
    "jinja2": ("report/",),
    "onnxruntime": ("runtime/session.py",),
    "pickle": ("data/pickled_batch.py",),
    "rich": ("cli/", "report/tables.py"),
    "ruamel": ("yaml_",),
    "safetensors": ("checkpoint/safetensors_file.py", "training/state.py"),
    "torch_pruning": ("graph/channel_dependencies.py",),
}

FILES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))
GRAB_BAGS = {"utils", "util", "helpers", "helper", "common", "misc", "tools"}


def room(file: str) -> str:
    return file.split("/")[0].removesuffix(".py")


@cache
def tree(file: str) -> ast.Module:
    return ast.parse((PACKAGE / file).read_text(encoding="utf-8"))


@cache
def imports(file: str) -> tuple[str, ...]:
    """Full names of the modules that a file imports, wherever in it."""
    names = []
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [
                f"{node.module}.{alias.name}" if node.module == "tinyml" else str(node.module) for alias in node.names
            ]
    return tuple(names)


ROOM_FILES = [file for file in FILES if room(file) not in ("__init__", "__main__")]


@pytest.mark.parametrize("file", ROOM_FILES)
def test_a_file_stands_in_a_room_and_imports_only_rooms_before_it(file: str) -> None:
    known = ROOMS[: ROOMS.index(room(file)) + 1]
    wanted = {name.split(".")[1] for name in imports(file) if name.startswith("tinyml.")}
    assert wanted - set(known) - {"__version__"} == set()


@pytest.mark.parametrize("library", DOORS)
def test_a_library_has_one_door(library: str) -> None:
    users = [file for file in FILES if any(name.split(".")[0] == library for name in imports(file))]
    assert [file for file in users if not file.startswith(DOORS[library])] == []


def test_torch_load_is_called_only_where_checkpoints_are_read() -> None:
    calls = [
        file
        for file in FILES
        for node in ast.walk(tree(file))
        if isinstance(node, ast.Attribute) and ast.unparse(node) == "torch.load"
    ]
    assert [file for file in calls if not file.startswith("checkpoint/")] == []


@pytest.mark.parametrize("file", FILES)
def test_a_file_has_at_most_300_lines_and_a_docstring(file: str) -> None:
    assert (PACKAGE / file).read_text(encoding="utf-8").count("\n") <= 300
    assert ast.get_docstring(tree(file))


def test_no_file_is_a_grab_bag() -> None:
    assert [file for file in FILES if GRAB_BAGS & set(file.removesuffix(".py").replace("_", "/").split("/"))] == []


@pytest.mark.parametrize("file", FILES)
def test_functions_have_at_most_60_lines(file: str) -> None:
    functions = [node for node in ast.walk(tree(file)) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    assert [node.name for node in functions if (node.end_lineno or 0) - node.lineno >= 60] == []


@pytest.mark.parametrize("file", [file for file in FILES if room(file) != "cli"])
def test_only_the_command_line_prints(file: str) -> None:
    names = {node.id for node in ast.walk(tree(file)) if isinstance(node, ast.Name)}
    assert "print" not in names


def test_every_package_directory_is_in_the_wheel() -> None:
    project = (PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8")
    packages = {
        "tinyml." + path.parent.relative_to(PACKAGE).as_posix().replace("/", ".") for path in PACKAGE.glob("*/**/*.py")
    }
    assert [name for name in sorted(packages) if f'"{name}",' not in project] == []
