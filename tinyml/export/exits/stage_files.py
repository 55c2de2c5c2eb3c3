"""Write the stages of a network with exits as files that run without tinyml."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import onnx

from tinyml.files import write_atomically
from tinyml.runtime.exit_policy import ExitPolicy
from tinyml.runtime.exits_file import EXITS_NAME, ExitsFile
from tinyml.shipped import shipped

RUNNER_NAME: Final = "run_stages.py"


def stage_files(stages: Sequence[onnx.ModelProto], policy: ExitPolicy) -> dict[str, bytes]:
    """Return by name stage_0.onnx, stage_1.onnx, ..., exits.json, and the program that runs them."""
    models = {f"stage_{index}.onnx": stage.SerializeToString(deterministic=True) for index, stage in enumerate(stages)}
    return {**models, EXITS_NAME: exits_file(tuple(models), policy), RUNNER_NAME: _runner().read_bytes()}


def exits_file(stages: tuple[str, ...], policy: ExitPolicy) -> bytes:
    """Return the contents of exits.json for stages of these names."""
    exits = ExitsFile(rule=policy.rule, thresholds=policy.thresholds, temperatures=policy.temperatures, stages=stages)
    return (exits.model_dump_json(indent=2) + "\n").encode()


def write_stages(directory: Path, stages: Sequence[onnx.ModelProto], policy: ExitPolicy) -> None:
    """Write `stage_files` to an existing directory.

    Raises:
        OutputError, TinymlError: a file cannot be written.
    """
    for name, content in stage_files(stages, policy).items():
        write_atomically(directory / name, content)


def _runner() -> Path:
    return shipped("runner") / RUNNER_NAME
