"""`tinyml recipes`: the shipped recipes."""

from itertools import takewhile
from pathlib import Path

import click

from tinyml.cli import options


@options.verb("tinyml recipes\ntinyml recipes show int8")
@options.listing
@options.as_json
def command(action: str, name: str | None, as_json: bool) -> None:
    """List the recipes, or show one: its file, or with --json every setting it resolves to."""
    from tinyml.cli.console import print_json, print_table
    from tinyml.shipped import shipped_files

    files = shipped_files("recipes")
    shown = options.shown_name(action, name, files)
    if shown is not None:
        _show(shown, files, as_json=as_json)
        return
    rows = [(name, " -> ".join(_passes(path)) or "-", _summary(path)) for name, path in files.items()]
    if as_json:
        print_json([{"name": name, "passes": _passes(files[name]), "summary": summary} for name, _, summary in rows])
    else:
        print_table(["recipe", "passes", "what it does"], rows)


def _show(name: str, files: dict[str, Path], *, as_json: bool) -> None:
    from tinyml.cli.console import print_json
    from tinyml.errors import RecipeError
    from tinyml.recipe import load_recipe, resolved_yaml
    from tinyml.yaml_file import parse_document

    recipe = load_recipe(name)
    if as_json:
        resolved = parse_document(resolved_yaml(recipe), name, error=RecipeError).value
        print_json(resolved if isinstance(resolved, dict) else {})
    else:
        click.echo(files.get(name, Path(name)).read_text(encoding="utf-8"), nl=False)


def _passes(path: Path) -> list[str]:
    """Return the names of the passes without checking them, which would import torch."""
    from tinyml.errors import RecipeError
    from tinyml.yaml_file import read_document

    document = read_document(path, error=RecipeError).value
    entries = document.get("passes") if isinstance(document, dict) else None
    listed = entries if isinstance(entries, list) else []
    return [next(iter(entry), "") if isinstance(entry, dict) else str(entry) for entry in listed]


def _summary(path: Path) -> str:
    """Return the first sentence of the comment that heads the file."""
    lines = path.read_text(encoding="utf-8").splitlines()
    comment = " ".join(line.removeprefix("#").strip() for line in takewhile(lambda line: line.startswith("#"), lines))
    return comment.split(". ")[0].removesuffix(".")
