"""What `tinyml difficulty` writes into its folder, and what it prints."""

import json
from pathlib import Path

from pydantic import JsonValue

from tinyml.analysis.difficulty.examples import depths_file
from tinyml.analysis.difficulty.exits import macs_saved
from tinyml.analysis.difficulty.features import TRAIN
from tinyml.analysis.difficulty.measure import Difficulty
from tinyml.analysis.difficulty.spread import spread_over_depths
from tinyml.analysis.difficulty.summary import Summary
from tinyml.cli.console import print_json, print_table, results
from tinyml.data import Task
from tinyml.data.selection import selection
from tinyml.pipeline import Job
from tinyml.report.difficulty_page import (
    c_score_text,
    exits_text,
    layer_columns,
    layer_rows,
    method_text,
    overview_text,
    render_difficulty,
)
from tinyml.report.gallery import CLASSES_SHOWN, ClassGallery, galleries
from tinyml.report.left_alone import by_reason, modules_text
from tinyml.report.png import can_be_drawn
from tinyml.run_directory import RunDirectory
from tinyml.runtime.probe import installed_packages
from tinyml.sealed_json import to_json, to_sealed_json

STEP = "probes"
C_SCORE_STEP = "c_score"
PAGE = "report.html"
SUMMARY = "difficulty.json"
DEPTHS = "depths.npz"
CALIBRATION = "calibration.json"
EXITS = "exits.json"


def write_difficulty(directory: RunDirectory, found: Difficulty, job: Job, calibration: int) -> None:
    """Write page and numbers, and seal the folder."""
    assert job.task is not None  # the verb needs --data
    summary = found.summary
    directory.write(SUMMARY, (to_json(summary.to_json(), indent=1) + "\n").encode())
    directory.write(DEPTHS, depths_file(found.examples, found.c_scores))
    directory.write(CALIBRATION, to_sealed_json(_calibration(found, job, calibration)).encode())
    if summary.exits:
        directory.write(EXITS, (to_json(_exits(summary), indent=1) + "\n").encode())
    pictures, without = _pictures(found, job.task)
    page = render_difficulty(summary, pictures=pictures, no_pictures=without, command=job.command)
    directory.write(PAGE, page.encode())
    directory.finish(STEP)
    directory.finish(C_SCORE_STEP)
    directory.seal(
        {
            "name": "difficulty",
            "model": summary.model,
            "seed": job.seed,
            "threads": job.threads,
            "versions": dict(installed_packages()),
            "parent": job.checkpoint.name if job.checkpoint is not None else None,
        }
    )


def read_summary(folder: Path) -> Summary:
    """Return what a finished run found."""
    return Summary.from_json(json.loads((folder / SUMMARY).read_text(encoding="utf-8")))


def show_difficulty(summary: Summary, *, output: Path, as_json: bool) -> None:
    """Print a row for each depth, and what follows."""
    if as_json:
        print_json({"output": str(output), **summary.to_json()})
        return
    columns = layer_columns(summary)
    print_table(columns, layer_rows(summary), title=summary.model, right=[each for each in columns if each != "layer"])
    written = [PAGE, SUMMARY, DEPTHS, CALIBRATION, *([EXITS] if summary.exits else [])]
    lines = [
        overview_text(summary) + ".",
        method_text(summary),
        exits_text(summary),
        c_score_text(summary),
        *summary.notes,
        *(f"Not probed: {modules_text(names)}: {why.reason}" for why, names in by_reason(summary.left_alone).items()),
        f"Written: {', '.join(str(output / name) for name in written)}",
    ]
    for line in filter(None, lines):
        results().print(line, markup=False)


def _calibration(found: Difficulty, job: Job, count: int) -> dict[str, JsonValue]:
    """Return the selection of images for calibration: rows of the train split as the data has it."""
    assert job.task is not None  # the verb needs --data
    train = found.examples[TRAIN]
    rows = spread_over_depths(train.depths, count, seed=job.seed)
    return selection(job.task.splits[TRAIN], train.indices[rows])


def _exits(summary: Summary) -> dict[str, JsonValue]:
    """Return what exits.json says: `places` is for early_exit, the rest for its reader."""
    saved: list[JsonValue] = [macs_saved(summary.exits[: count + 1]) for count in range(len(summary.exits))]
    return {
        "places": [place.name for place in summary.exits],
        "model": summary.model,
        "depths_of": summary.exits_from,
        "decided": [place.decided for place in summary.exits],
        "macs": [place.macs for place in summary.exits],
        "macs_saved_with_those_before": saved,
    }


def _pictures(found: Difficulty, task: Task) -> tuple[list[ClassGallery], str]:
    """Return the galleries, and what is to be said where some or all are missing."""
    name = found.summary.shown
    split = task.splits[name]
    if not can_be_drawn(split.x.shape, split.x.dtype):
        return [], f"No pictures: examples of {split.x.dtype} {split.x.shape[1:]} are no images of 1 or 3 channels."
    classes = len(task.classes)
    more = f"The first {CLASSES_SHOWN} of {classes} classes." if classes > CLASSES_SHOWN else ""
    return galleries(found.examples[name], split, task.classes), more
