"""The options that several verbs share: each means the same everywhere."""

import json
import logging
import re
from collections.abc import Callable, Iterable
from functools import wraps
from pathlib import Path

import click

from tinyml.errors import UsageError
from tinyml.torchrun import launch
from tinyml.yaml_syntax import JSON

Verb = Callable[..., None]
Decorator = Callable[[Verb], Verb]


class JsonObject(click.ParamType[dict[str, JSON]]):
    """A JSON object, such as {"classes": 6}."""

    name = "JSON"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, JSON]:
        """Parse the text."""
        if isinstance(value, dict):
            return value
        try:
            parsed = json.loads(str(value))
        except ValueError as error:
            self.fail(f"{value!r} is not JSON ({error}); write for example '{{\"classes\": 6}}'", param, ctx)
        if not isinstance(parsed, dict):
            self.fail(f"{value!r} is not a JSON object; write for example '{{\"classes\": 6}}'", param, ctx)
        return parsed


class Shape(click.ParamType[tuple[int, ...]]):
    """The shape of one input without the batch, such as 3,32,32."""

    name = "C,H,W"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Parse the text."""
        if isinstance(value, tuple):
            return value
        if not re.fullmatch(r"[1-9]\d{0,5}(,[1-9]\d{0,5})*", str(value)):
            self.fail(f"{value!r} is not a shape; write whole numbers from 1 up, such as 3,32,32", param, ctx)
        return tuple(int(size) for size in str(value).split(","))


class Device(click.ParamType[str]):
    """cpu, cuda or cuda:<index>. Whether the machine has it is the verb's to find out."""

    name = "cpu|cuda[:i]"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check the text."""
        if not re.fullmatch(r"cpu|cuda(:\d{1,3})?", str(value)):
            self.fail(f"{value!r} is not a device; allowed: cpu, cuda, cuda:0, cuda:1, ...", param, ctx)
        return str(value)


def verb(example: str) -> Callable[[Verb], click.Command]:
    """Make a function the `command` of its file; its --help ends with the example; adds -v, -q and --no-color."""

    def decorate(function: Verb) -> click.Command:
        lines = "\n".join(f"  {line}" for line in example.splitlines())
        settings = {"help_option_names": ["-h", "--help"], "max_content_width": 110}
        with_common = _verbose(_quiet(_no_colour(function)))
        return click.command(epilog=f"\b\nExample:\n{lines}", context_settings=settings)(with_common)

    return decorate


def parallel(function: Verb) -> Verb:
    """Let several processes, started by torchrun, do the verb together: what fails in one is told to all."""

    @wraps(function)
    def together(*arguments: object, **named: object) -> None:
        if launch().alone:
            function(*arguments, **named)
            return
        from tinyml.training import joined

        with joined():
            function(*arguments, **named)

    return together


def listing(function: Verb) -> Verb:
    """[show NAME]: `action: str` and `name: str | None`."""
    action = click.argument("action", type=click.Choice(["list", "show"]), default="list", metavar="[show NAME]")
    return action(click.argument("name", required=False, metavar="")(function))


def shown_name(action: str, name: str | None, allowed: Iterable[str]) -> str | None:
    """Return the name to show; None where all are to be listed.

    Raises:
        UsageError: where 'show' has no name.
    """
    if action == "show" and name is None:
        raise UsageError(f"show needs a name; allowed: {', '.join(allowed)}")
    if action == "list" and name is not None:
        raise UsageError(f"list takes no name; write: show {name}")
    return name


def images(which: str, *, least: int = 1) -> Decorator:
    """--images: `images: int | None`: take so many of them, `least` or more; None for all."""
    text = f"{which}, drawn by the seed.  [default: all]"
    return click.option("--images", type=click.IntRange(min=least), help=text)


def output(what: str, *, required: bool = True) -> Decorator:
    """-o/--output: `output: Path` (None where not required and not given)."""
    path = click.Path(path_type=Path)
    return click.option("-o", "--output", type=path, required=required, help=f"Where to write {what}.")


def model(*, required: bool = True) -> Decorator:
    """--model: `model: str`."""
    text = "A name of the zoo (tinyml models) or package.module:factory."
    return click.option("--model", metavar="MODEL", required=required, help=text)


def data(*, required: bool = False) -> Decorator:
    """--data: `data: str` (None where not required and not given)."""
    text = "'digits', a data card (.yaml), or package.module:factory that returns a Task."
    return click.option("--data", metavar="DATA", required=required, help=text)


def recipe(*, required: bool = True) -> Decorator:
    """--recipe: `recipe: str`."""
    text = "A shipped recipe (tinyml recipes) or a .yaml file."
    return click.option("--recipe", metavar="RECIPE", required=required, help=text)


def target(default: str = "cpu") -> Decorator:
    """--target: `target: str`."""
    text = "A shipped target (tinyml targets) or a .yaml file."
    return click.option("--target", metavar="TARGET", default=default, show_default=True, help=text)


def threads(default: int = 1, text: str = "Threads to compute with.") -> Decorator:
    """--threads: `threads: int`."""
    count = click.IntRange(1, 1024)
    return click.option("--threads", type=count, default=default, show_default=True, help=text)


def seed(default: int | None = 0) -> Decorator:
    """--seed: `seed: int` (None where that is the default: the recipe then says)."""
    number = click.IntRange(0, 2**31 - 1)
    text = "Start of every random choice." if default is not None else "Start of every random choice; the recipe's."
    return click.option("--seed", type=number, default=default, show_default=default is not None, help=text)


def workers(default: int = 1) -> Decorator:
    """--workers: `workers: int`."""
    count = click.IntRange(1, 256)
    return click.option("--workers", type=count, default=default, show_default=True, help="Processes to work in.")


def _set_level(_ctx: click.Context, _param: click.Parameter, count: int) -> None:
    from tinyml.cli.console import set_up_logging

    set_up_logging({0: logging.WARNING, 1: logging.INFO}.get(count, logging.DEBUG))


def _set_quiet(_ctx: click.Context, _param: click.Parameter, quiet: bool) -> None:
    from tinyml.cli.console import set_up_logging

    if quiet:
        set_up_logging(logging.ERROR)


def _set_colour(_ctx: click.Context, _param: click.Parameter, no_colour: bool) -> None:
    from tinyml.cli.console import without_colour

    if no_colour:
        without_colour()


# Eager, so that -q comes after the default of -v.
_verbose = click.option(
    "-v", "--verbose", count=True, is_eager=True, expose_value=False, callback=_set_level,
    help="Say more; -vv also shows tracebacks.",
)  # fmt: skip
_quiet = click.option(
    "-q",
    "--quiet",
    is_flag=True,
    expose_value=False,
    callback=_set_quiet,
    help="Print results and errors only: no notes, no progress.",
)
_no_colour = click.option(
    "--no-color", is_flag=True, expose_value=False, callback=_set_colour, help="No colour (as with NO_COLOR set)."
)

checkpoint = click.argument("checkpoint", metavar="CKPT")
batch_size = click.option(
    "--batch-size", type=click.IntRange(1, 100000), default=500, show_default=True, help="Images at a time."
)
overwrite = click.option("--overwrite", is_flag=True, help="Replace an output that exists.")
resume = click.option("--resume", is_flag=True, help="Go on where an interrupted run stopped.")
dry_run = click.option("--dry-run", is_flag=True, help="Check everything, say what would be done, write nothing.")
as_json = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
device = click.option(
    "--device", type=Device(), default="cpu", show_default=True, help="Where torch computes: cpu or cuda[:i]."
)
overrides = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a recipe's value: passes.0.calibration.images=256.",
)
model_args = click.option(
    "--model-args", type=JsonObject(), default="{}", help="Arguments of the model's factory: '{\"classes\": 6}'."
)
input_shape = click.option("--input-shape", type=Shape(), help="Shape of one input without the batch: 3,32,32.")
