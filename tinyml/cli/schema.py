"""`tinyml schema`: the JSON Schema of the files that people write."""

import click

from tinyml.cli import options


@options.verb("tinyml schema recipe > recipe.schema.json")
@click.argument("kind", type=click.Choice(["recipe", "target", "data"]))
def command(kind: str) -> None:
    """Print the JSON Schema of a recipe, target or data card, for editors and checks."""
    from tinyml.cli.console import print_json
    from tinyml.data.card import Card
    from tinyml.recipe import recipe_schema
    from tinyml.target import target_schema
    from tinyml.yaml_file import json_schema

    schemas = {"recipe": recipe_schema(), "target": target_schema(), "data": json_schema(Card)}
    print_json({"$schema": "https://json-schema.org/draft/2020-12/schema", **schemas[kind]})
