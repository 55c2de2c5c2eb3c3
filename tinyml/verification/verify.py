"""Verify one ONNX file: its structure, its answers against the trained model's, and its int8 arithmetic."""

from pathlib import Path
from typing import Final

import numpy as np
import onnx
from numpy.typing import NDArray

from tinyml.errors import CheckpointError, first_line
from tinyml.graph.onnx_graphs import graphs
from tinyml.runtime.exits_file import EXITS_NAME, read_exits
from tinyml.runtime.one_by_one import answer_each
from tinyml.runtime.session import CPU, logits, open_session
from tinyml.target import Target
from tinyml.verification.agreement import Precision, Reference, agreement_checks
from tinyml.verification.check import Check, Verification, outcome
from tinyml.verification.exits import SAME_EXIT, same_exit_check, stages_check
from tinyml.verification.layer_by_layer import layer_by_layer
from tinyml.verification.portability import is_quantized, portability_check
from tinyml.verification.trials import THREE_RUNS, three_runs

_FOUR_BITS: Final = frozenset({onnx.TensorProto.INT4, onnx.TensorProto.UINT4})


def verify_file(
    path: Path,
    *,
    reference: Reference | None,
    target: Target | None,
    agreement: float | None = None,
    same_runs: float = THREE_RUNS,
    same_exits: float = SAME_EXIT,
    stages: Path | None = None,
    threads: int = 1,
) -> Verification:
    """Return the checks of the file; without a reference only its structure and the static bound are checked.

    Args:
        path: the ONNX file.
        reference: inputs, and the trained model's answers to them.
        target: what the file was made for; None where that is not known.
        agreement: least share of equal answers, in place of the default of the file's precision.
        same_runs: least share of equal answers of the file under three settings of the runtime.
        same_exits: of a file with exits whose numbers are rounded, the least share of equal exits.
        stages: of a file with exits, the folder with its stages.
        threads: of every session.

    Raises:
        CheckpointError: the file cannot be read as ONNX.
    """
    model = read_model(path)
    checks = [_structure(path)]
    quantized = is_quantized(model.graph)
    if reference is not None:
        provider = target.provider if target is not None else CPU
        session = open_session(path, provider=provider, threads=threads)
        if reference.exits is None:
            outputs = logits(session, reference.inputs)
            checks += agreement_checks(reference, outputs, precision_of(model), agreement)
        else:
            outputs, taken = answer_each(session, reference.inputs)
            checks += agreement_checks(reference, outputs, precision_of(model), agreement, taken)
            rounded = precision_of(model) != "float32"
            checks.append(same_exit_check(reference.exits, taken, bound=same_exits, rounded=rounded))
            if stages is not None:
                checks.append(
                    stages_check(
                        stages, reference.inputs, outputs, taken, rounded=rounded, provider=provider, threads=threads
                    )
                )
        if quantized and provider == CPU and reference.classification and reference.real:
            checks.append(three_runs(path, reference.inputs, outputs, threads=threads, bound=same_runs))
        if quantized and provider == CPU:
            first, *later = [model] if stages is None else _stage_models(stages)
            checks.append(layer_by_layer(first, reference.inputs, threads=threads, later=later))
    if quantized:
        demanded = target is not None and target.integer is not None and target.integer.weight_range == "reduced"
        checks.append(portability_check(model.graph, demanded=demanded))
    return Verification(checks=tuple(checks))


def read_model(path: Path) -> onnx.ModelProto:
    """Return the ONNX model in the file.

    Raises:
        CheckpointError: there is no such file, or it is not ONNX.
    """
    try:
        model = onnx.load(str(path))
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: no such file; give a run directory or an ONNX file") from error
    except Exception as error:  # protobuf and onnx raise many kinds for damaged files
        raise CheckpointError(f"{path}: is not an ONNX file, or is damaged ({type(error).__name__})") from error
    if not model.ir_version:  # an empty file parses as an empty message
        raise CheckpointError(f"{path}: is not an ONNX file, or is empty")
    return model


def _stage_models(folder: Path) -> list[onnx.ModelProto]:
    return [read_model(folder / name) for name in read_exits(folder / EXITS_NAME).stages]


def precision_of(model: onnx.ModelProto) -> Precision:
    """Return what the file's numbers are held to: int8 where any layer has int8 weights, else float16 where any has.

    INT4 weights count as int8: onnxruntime's kernel for them (MatMulNBits) rounds the activations to 8 bits.
    """
    if is_quantized(model.graph) or _has_int4_weights(model.graph):
        return "int8"
    kinds = {item.data_type for graph in graphs(model.graph) for item in graph.initializer}
    return "float16" if onnx.TensorProto.FLOAT16 in kinds else "float32"


def _has_int4_weights(graph: onnx.GraphProto) -> bool:
    """Return whether a DequantizeLinear reads 4-bit codes; indices of a codebook, packed in 4 bits, do not count."""
    for inner in graphs(graph):
        codes = {item.name for item in inner.initializer if item.data_type in _FOUR_BITS}
        if any(node.op_type == "DequantizeLinear" and node.input[0] in codes for node in inner.node):
            return True
    return False


def random_inputs(shape: tuple[int, ...], count: int, seed: int) -> NDArray[np.float32]:
    """Return standard normal inputs (count, *shape), for models without data."""
    return np.random.default_rng(seed).standard_normal((count, *shape), dtype=np.float32)


def _structure(path: Path) -> Check:
    try:
        onnx.checker.check_model(str(path), full_check=True)
        value = "valid"
    except Exception as error:  # the checker's errors share no base class
        value = first_line(error)[:160]
    return Check(
        name="ONNX structure",
        value=value,
        bound="valid",
        outcome=outcome(value == "valid"),
        explanation="onnx.checker with shape inference.",
    )
