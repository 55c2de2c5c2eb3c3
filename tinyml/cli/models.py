"""`tinyml models`: the zoo."""

import inspect

import click

from tinyml.cli import options


@options.verb("tinyml models\ntinyml models show resnet20-cifar")
@options.listing
@options.as_json
def command(action: str, name: str | None, as_json: bool) -> None:
    """List the zoo's networks, or show one (or your own package.module:factory)."""
    from tinyml.cli.console import print_json, print_table
    from tinyml.models import MODELS

    shown = options.shown_name(action, name, MODELS)
    if shown is not None:
        facts = _facts(shown)
        print_json(facts) if as_json else click.echo("\n".join(f"{key}: {value}" for key, value in facts.items()))
        return
    rows = [(entry.name, _shape(entry.input_shape), entry.summary) for entry in MODELS.values()]
    if as_json:
        keys = ("name", "input_shape", "summary")
        print_json([dict(zip(keys, row, strict=True)) for row in rows])
    else:
        print_table(["model", "input", "what it is"], rows)


def _facts(name: str) -> dict[str, str | int]:
    from tinyml.models import create_model, find_model

    entry = find_model(name)
    parameters = sum(parameter.numel() for parameter in create_model(name).parameters())
    return {
        "name": entry.name,
        "summary": entry.summary,
        "input_shape": _shape(entry.input_shape),
        "parameters": parameters,
        "factory": f"{entry.factory.__module__}:{entry.factory.__qualname__}",
        "arguments": str(inspect.signature(entry.factory)).partition(" ->")[0],
    }


def _shape(shape: tuple[int, ...] | None) -> str:
    return ",".join(str(size) for size in shape) if shape else "unknown"
