"""What `tinyml sensitivity` writes into its folder, and what it prints."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

from pydantic import JsonValue, TypeAdapter

from tinyml.analysis.sensitivity.bits import BitChoice, Budget, MeasureBytes, choose_bits
from tinyml.analysis.sensitivity.budget import Choice, choose_sparsities
from tinyml.analysis.sensitivity.curves import Sensitivity
from tinyml.analysis.sensitivity.recipe import bit_recipe_of, recipe_of
from tinyml.analysis.sensitivity.units import Patterns
from tinyml.cli.console import print_json, print_table, results
from tinyml.errors import GateMissed
from tinyml.pipeline import Job
from tinyml.recipe import Recipe, resolved_yaml
from tinyml.report.left_alone import by_reason, modules_text
from tinyml.report.sensitivity_page import (
    choice_text,
    render_sensitivity,
    sensitivity_columns,
    sensitivity_rows,
    unchanged_text,
)
from tinyml.run_directory import RunDirectory
from tinyml.runtime.probe import installed_packages
from tinyml.sealed_json import to_json

STEP = "scan"
CURVES = "sensitivity.json"
PAGE = "sensitivity.html"
RECIPE = "recipe.yaml"


@final
@dataclass(frozen=True, kw_only=True)
class Chosen:
    """Levels for a sparsity or a budget.

    Attributes:
        choice: None where nothing was asked for, or nothing meets it.
        missed: why nothing meets it; "" where something does.
    """

    choice: Choice | BitChoice | None
    missed: str = ""


_CHOSEN: Final = TypeAdapter(Chosen)


def chosen(
    sensitivity: Sensitivity, sparsity: float | None, budget: Budget | None, measure: MeasureBytes | None
) -> Chosen:
    """Return the levels for an overall sparsity or a budget, where one was asked for."""
    if budget is not None:
        try:
            return Chosen(choice=choose_bits(sensitivity, budget, measure))
        except GateMissed as missed:
            return Chosen(choice=None, missed=str(missed))
    return Chosen(choice=None if sparsity is None else choose_sparsities(sensitivity, sparsity))


def write_scan(directory: RunDirectory, sensitivity: Sensitivity, found: Chosen, patterns: Patterns, job: Job) -> None:
    """Write curves, page and recipe, and seal the folder."""
    directory.write(CURVES, (to_json(_facts(sensitivity, found), indent=1) + "\n").encode())
    recipe = resolved_yaml(_recipe(sensitivity, found.choice, patterns)) if found.choice else ""
    page = render_sensitivity(sensitivity, choice=found.choice, recipe_yaml=recipe, command=job.command)
    directory.write(PAGE, page.encode())
    if recipe:
        directory.write(RECIPE, recipe.encode())
    directory.finish(STEP)
    directory.seal(
        {
            "name": "sensitivity",
            "model": sensitivity.model,
            "seed": job.seed,
            "threads": job.threads,
            "versions": dict(installed_packages()),
            "parent": job.checkpoint.name if job.checkpoint is not None else None,
        }
    )


def read_scan(folder: Path) -> tuple[Sensitivity, Chosen]:
    """Return the curves of a finished scan, and what was chosen from them."""
    facts = json.loads((folder / CURVES).read_text(encoding="utf-8"))
    return Sensitivity.from_json(facts), _CHOSEN.validate_python(facts)


def _facts(sensitivity: Sensitivity, found: Chosen) -> dict[str, JsonValue]:
    return {**sensitivity.to_json(), **_CHOSEN.dump_python(found, mode="json")}


def _recipe(sensitivity: Sensitivity, choice: Choice | BitChoice, patterns: Patterns) -> Recipe:
    if isinstance(choice, BitChoice):
        return bit_recipe_of(sensitivity.pass_name, choice, patterns)
    return recipe_of(sensitivity.pass_name, choice, patterns)


def show_scan(sensitivity: Sensitivity, found: Chosen, *, output: Path, as_json: bool) -> None:
    """Print a row for each layer, what was chosen, and what was not scanned."""
    choice = found.choice
    if as_json:
        print_json({"output": str(output), **_facts(sensitivity, found)})
        return
    columns = sensitivity_columns(sensitivity, choice)
    print_table(columns, sensitivity_rows(sensitivity, choice), title=sensitivity.model, right=columns[1:])
    lines = [
        f"Unchanged: {unchanged_text(sensitivity)}. Scores: torch, one layer changed at a time, on {sensitivity.data}.",
        *sensitivity.notes,
        *(
            f"Not scanned: {modules_text(names)}: {why.reason}"
            for why, names in by_reason(sensitivity.left_alone).items()
        ),
    ]
    if choice:
        lines.append(choice_text(sensitivity, choice))
    lines.append(f"Written: {', '.join(str(output / name) for name in (PAGE, CURVES, *([RECIPE] if choice else [])))}")
    for line in lines:
        results().print(line, markup=False)
