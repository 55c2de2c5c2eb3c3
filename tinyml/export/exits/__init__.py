"""Exits in ONNX: one network cut into stages, and the stages joined in one file that skips what it does not need."""

from tinyml.export.exits.join import join_stages
from tinyml.export.exits.policy_in_file import exit_policy, set_thresholds
from tinyml.export.exits.split import split_stages
from tinyml.export.exits.stage_files import stage_files

__all__ = [
    "exit_policy",
    "join_stages",
    "set_thresholds",
    "split_stages",
    "stage_files",
]
