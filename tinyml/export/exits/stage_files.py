"""The stages of a network with exits as files that run without tinyml."""

from collections.abc import Sequence
from typing import Final

import onnx

from tinyml.runtime.exit_policy import ExitPolicy
from tinyml.runtime.exits_file import EXITS_NAME, ExitsFile
from tinyml.shipped import shipped

RUNNER_NAME: Final = "run_stages.py"


def stage_files(stages: Sequence[onnx.ModelProto], policy: ExitPolicy) -> dict[str, bytes]:
    """Return by name stage_0.onnx, stage_1.onnx, ..., exits.json, and the program that runs them."""
    models = {f"stage_{index}.onnx": stage.SerializeToString(deterministic=True) for index, stage in enumerate(stages)}
    exits = ExitsFile(
        rule=policy.rule, thresholds=policy.thresholds, temperatures=policy.temperatures, stages=tuple(models)
    )
    runner = (shipped("runner") / RUNNER_NAME).read_bytes()
    return {**models, EXITS_NAME: f"{exits.model_dump_json(indent=2)}\n".encode(), RUNNER_NAME: runner}
