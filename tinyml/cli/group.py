"""The group of verbs: each is imported when it is used, so that `tinyml --help` is quick."""

from collections.abc import Sequence
from importlib import import_module

import click

from tinyml import __version__
from tinyml.errors import TinymlError, did_you_mean
from tinyml.torchrun import launch

VERBS: dict[str, str] = {
    "demo": "Train, compress, verify and measure a small network, and write its report.",
    "train": "Train a baseline.",
    "compress": "Send a checkpoint through a recipe; write a run directory.",
    "export": "Write a copy of a network with exits that leaves earlier or later.",
    "verify": "Check an ONNX file against the network it was made from.",
    "benchmark": "Measure ONNX files side by side.",
    "compare": "Show finished runs side by side: what they answer, what they cost.",
    "profile": "Show what each layer costs.",
    "inspect": "Show the weights of a network: zeros, distinct values, histograms.",
    "sensitivity": "Show how much each layer bears; choose levels for a budget.",
    "difficulty": "Show which examples are hard, and how deep the network is when it knows.",
    "recipes": "List the shipped recipes.",
    "targets": "List the shipped targets.",
    "models": "List the model zoo.",
    "schema": "Print the JSON Schema of a recipe, target or data card.",
    "doctor": "Show what this machine has and whether its int8 saturates.",
}

PARALLEL = ("train", "compress")  # the verbs that several processes, started by torchrun, can do together

EXAMPLE = """\b
Example:
  tinyml compress net.pt --model resnet20-cifar --data card.yaml --recipe int8 --target cpu -o runs/net-int8
"""


class Verbs(click.Group):
    """A group whose commands are the `command` of tinyml.cli.<verb>."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs, in the order in which one meets them."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return the verb; None where there is none of that name."""
        if cmd_name not in VERBS:
            return None
        if not launch().alone and cmd_name not in PARALLEL:
            raise click.UsageError(
                f"{launch().world_size} processes were started, and {cmd_name!r} is for one: start it without torchrun "
                f"(for several are {', '.join(PARALLEL)})"
            )
        try:
            command: click.Command = import_module(f"tinyml.cli.{cmd_name}").command
        except ImportError as error:
            text = f"the verb {cmd_name!r} cannot be loaded ({error}): is everything installed?"
            raise TinymlError(text) from error
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb; of an unknown one say the nearest."""
        if args and not args[0].startswith("-") and args[0] not in VERBS:
            raise click.UsageError(
                f"unknown verb {args[0]!r}; allowed: {', '.join(VERBS)}.{did_you_mean(args[0], VERBS)}"
            )
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs from the table, without importing them."""
        rows: Sequence[tuple[str, str]] = list(VERBS.items())
        with formatter.section("Verbs"):
            formatter.write_dl(rows)


@click.group(
    cls=Verbs,
    epilog=EXAMPLE,
    subcommand_metavar="VERB ...",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(__version__, message="tinyml %(version)s")
def tinyml() -> None:
    """Compress trained networks for small devices; measure the file that ships."""
