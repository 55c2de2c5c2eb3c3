"""What onnxruntime's refusal to load a file or to run it means, and what to do about it."""

import re

from tinyml.errors import CheckpointError, Refused, TargetError, first_line


def load_refused(source: str, message: str, version: str) -> Refused:
    """Return the error to raise where onnxruntime `version` refused to load `source` with `message`."""
    if found := re.search(r"Unsupported model IR version: (\d+), max supported IR version: (\d+)", message):
        return TargetError(
            f"{source}: it has IR version {found[1]}; onnxruntime {version} reads up to {found[2]}. "
            "Export it with a lower IR version (a target's `ir_version`), or update onnxruntime."
        )
    if found := re.search(r"Opset (\d+) is under development.*is till opset (\d+)", message, re.DOTALL):
        return TargetError(
            f"{source}: it has opset {found[1]}; onnxruntime {version} runs up to {found[2]}. "
            "Export it with a lower opset (a target's `opset`), or update onnxruntime."
        )
    if "No graph was found" in message or "protobuf parsing failed" in message.lower():
        return CheckpointError(f"{source}: it is empty, cut short or not an ONNX file.")
    if found := re.search(r"No Op registered for (\S+) with domain_version of (\d+)", message):
        return TargetError(f"{source}: onnxruntime {version} has no operator {found[1]} in opset {found[2]}.")
    if found := re.search(r"Could not find an implementation for (\S+) node with name '([^']*)'", message):
        return TargetError(f"{source}: onnxruntime {version} cannot run operator {found[1]} (node '{found[2]}').")
    lines = message.strip().splitlines() or ["(no message)"]
    return CheckpointError(f"{source}: onnxruntime {version} refused it: {lines[0]}")


def run_refused(
    source: str, given: str, allowed: str, error: Exception, *, one_by_one: bool = False
) -> CheckpointError:
    """Return the error to raise where onnxruntime refused to run `source` on what was `given`, or failed on it.

    Args:
        source: the file.
        given: types and shapes of the inputs.
        allowed: what the file takes.
        error: what onnxruntime raised.
        one_by_one: whether a batch was given to a file with exits, which decides for one input at a time.
    """
    if one_by_one:
        return CheckpointError(
            f"{source}: it was given a batch, {given}; a file with exits takes one input at a time, {allowed}. Batches "
            "are what its stages are for: tinyml.runtime.staged.open_staged, or run_stages.py beside them."
        )
    return CheckpointError(
        f"{source}: running it on {given} failed; it takes {allowed}. onnxruntime says: {first_line(error)}"
    )
