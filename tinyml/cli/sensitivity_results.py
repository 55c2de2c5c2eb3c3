"""What `tinyml sensitivity` writes into its folder, and what it prints."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import final

from tinyml.analysis.sensitivity.bits import BitChoice, Budget, choose_bits
from tinyml.analysis.sensitivity.budget import Choice, choose_sparsities
from tinyml.analysis.sensitivity.curves import Sensitivity
from tinyml.analysis.sensitivity.recipe import bit_recipe_of, recipe_of
from tinyml.analysis.sensitivity.units import Patterns
from tinyml.cli.console import print_json, print_table, results
from tinyml.errors import GateMissed
from tinyml.pipeline import Job
from tinyml.recipe import Recipe, resolved_yaml
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
    """Levels for a budget, and the recipe that they make."""

    choice: Choice | BitChoice
    recipe: Recipe


def chosen(
    sensitivity: Sensitivity, patterns: Patterns, sparsity: float | None, budget: Budget | None
) -> tuple[Chosen | None, GateMissed | None]:
    """Return the levels for an overall sparsity or a budget, where one was asked for, and why there are none for it."""
    if budget is not None:
        try:
            bits = choose_bits(sensitivity, budget)
        except GateMissed as missed:
            return None, missed
        return Chosen(choice=bits, recipe=bit_recipe_of(sensitivity.pass_name, bits, patterns)), None
    if sparsity is None:
        return None, None
    choice = choose_sparsities(sensitivity, sparsity)
    return Chosen(choice=choice, recipe=recipe_of(sensitivity.pass_name, choice, patterns)), None


def write_scan(directory: RunDirectory, sensitivity: Sensitivity, found: Chosen | None, job: Job) -> None:
    """Write curves, page and recipe, and seal the folder."""
    directory.write(CURVES, (to_json(sensitivity.to_json(), indent=1) + "\n").encode())
    recipe = resolved_yaml(found.recipe) if found else ""
    choice = found.choice if found else None
    page = render_sensitivity(sensitivity, choice=choice, recipe_yaml=recipe, command=job.command)
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


def read_scan(folder: Path) -> Sensitivity:
    """Return the curves of a finished scan."""
    return Sensitivity.from_json(json.loads((folder / CURVES).read_text(encoding="utf-8")))


def show_scan(sensitivity: Sensitivity, found: Chosen | None, *, output: Path, as_json: bool) -> None:
    """Print a row for each layer, what was chosen, and what was not scanned."""
    choice = found.choice if found else None
    if as_json:
        print_json({"output": str(output), **sensitivity.to_json(), "choice": asdict(choice) if choice else None})
        return
    columns = sensitivity_columns(sensitivity, choice)
    print_table(columns, sensitivity_rows(sensitivity, choice), title=sensitivity.model, right=columns[1:])
    lines = [
        f"Unchanged: {unchanged_text(sensitivity)}. Scores: torch, one layer changed at a time, on {sensitivity.data}.",
        *sensitivity.notes,
        *(f"Not scanned: {item.module or 'the network'}: {item.reason}" for item in sensitivity.left_alone),
    ]
    if choice:
        lines.append(choice_text(sensitivity, choice))
    lines.append(f"Written: {', '.join(str(output / name) for name in (PAGE, CURVES, *([RECIPE] if found else [])))}")
    for line in lines:
        results().print(line, markup=False)
