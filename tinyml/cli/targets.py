"""`tinyml targets`: the shipped device profiles."""

from dataclasses import asdict

import click

from tinyml.cli import options


@options.verb("tinyml targets\ntinyml targets show x86-avx2")
@options.listing
@options.as_json
def command(action: str, name: str | None, as_json: bool) -> None:
    """List the targets, or show one as its YAML file."""
    from tinyml.cli.console import print_json, print_table
    from tinyml.target import TARGETS, load_target, target_yaml

    shown = options.shown_name(action, name, TARGETS)
    if shown is not None:
        target = load_target(shown)
        print_json(asdict(target)) if as_json else click.echo(target_yaml(target), nl=False)
    elif as_json:
        print_json([{"name": name, "summary": summary} for name, summary in TARGETS.items()])
    else:
        print_table(["target", "what it is"], TARGETS.items())
