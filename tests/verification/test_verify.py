"""The checks of one file, put together."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from tinyml.errors import CheckpointError
from tinyml.target import load_target
from tinyml.verification import Verification, verify_file
from tinyml.verification.agreement import Reference
from tinyml.verification.verify import precision_of, random_inputs, read_model

Write = Callable[[onnx.ModelProto], Path]
LARGE = np.array([[127, 127, 0], [1, 2, 3], [0, 0, 1]])
PIXELS = np.arange(30, dtype=np.float32).reshape(10, 3)


def outcomes(verification: Verification) -> dict[str, str]:
    return {check.name: check.outcome for check in verification.checks}


def reference(model_outputs: np.ndarray, *, classification: bool = True) -> Reference:
    return Reference(inputs=PIXELS, outputs=model_outputs, real=True, classification=classification)


def test_a_float_file_alone_is_checked_for_its_structure(identity, file_of: Write) -> None:
    assert outcomes(verify_file(file_of(identity()), reference=None, target=None)) == {"ONNX structure": "passed"}


@pytest.mark.parametrize(
    ("target", "outcome"),
    [
        pytest.param("x86-avx2", "failed", id="demanded where int8 saturates"),
        pytest.param("x86-vnni", "noted", id="noted with VNNI"),
        pytest.param("arm64", "noted", id="noted on ARM"),
        pytest.param(None, "noted", id="noted where no target is known"),
    ],
)
def test_the_static_bound_is_demanded_by_targets_that_saturate(
    quantized_graph, file_of: Write, target, outcome
) -> None:
    path = file_of(quantized_graph("MatMul", LARGE))
    profile = load_target(target) if target else None
    assert outcomes(verify_file(path, reference=None, target=profile))["int8 is right on every CPU"] == outcome


def test_a_target_without_an_integer_scheme_demands_no_bound(quantized_graph, file_of: Write) -> None:
    target = replace(load_target("x86-avx2"), integer=None, integer_reason="none")
    verification = verify_file(file_of(quantized_graph("MatMul", LARGE)), reference=None, target=target)
    assert outcomes(verification)["int8 is right on every CPU"] == "noted"


def test_a_quantized_file_is_compared_run_three_times_and_bounded(quantized_graph, file_of: Write) -> None:
    path = file_of(quantized_graph("MatMul", np.eye(3) * 100))
    verification = verify_file(path, reference=reference(PIXELS), target=load_target("x86-avx2"))
    assert outcomes(verification) == {
        "ONNX structure": "passed",
        "finite outputs": "passed",
        "same answer as the torch model": "passed",
        "largest difference": "noted",
        "three runs on this CPU": "passed",
        "layer by layer in integers": "noted",
        "int8 is right on every CPU": "passed",
    }


def test_a_reconstruction_has_no_classes_to_compare(quantized_graph, file_of: Write) -> None:
    path = file_of(quantized_graph("MatMul", np.eye(3) * 100))
    found = outcomes(verify_file(path, reference=reference(PIXELS, classification=False), target=None))
    assert {"same answer as the torch model", "three runs on this CPU"} & set(found) == set()


def test_a_float_file_that_computes_something_else_fails(identity, file_of: Write) -> None:
    verification = verify_file(file_of(identity()), reference=reference(PIXELS[:, ::-1].copy()), target=None)
    assert [check.name for check in verification.failed] == ["same answer as the torch model", "largest difference"]


def test_a_recipes_agreement_is_passed_on(identity, file_of: Write) -> None:
    verification = verify_file(
        file_of(identity()), reference=reference(PIXELS[:, ::-1].copy()), target=None, agreement=0
    )
    assert outcomes(verification)["same answer as the torch model"] == "passed"


@pytest.mark.parametrize(
    ("dtype", "precision"),
    [pytest.param(np.float32, "float32", id="float"), pytest.param(np.float16, "float16", id="half")],
)
def test_the_precision_of_a_float_file_is_that_of_its_weights(identity, dtype, precision: str) -> None:
    assert precision_of(identity(dtype)) == precision


@pytest.mark.parametrize("reader", ["DequantizeLinear", "Cast"])
def test_int4_weights_count_as_int8_and_packed_indices_do_not(reader: str) -> None:
    codes = onnx.TensorProto(name="w", data_type=onnx.TensorProto.INT4, dims=[4], raw_data=bytes(2))
    graph = onnx.GraphProto(node=[onnx.NodeProto(op_type=reader, input=["w", "s"])], initializer=[codes])
    assert precision_of(onnx.ModelProto(graph=graph)) == ("int8" if reader == "DequantizeLinear" else "float32")


def test_a_file_with_int8_weights_is_int8(quantized_graph) -> None:
    assert precision_of(quantized_graph("MatMul", LARGE)) == "int8"


def test_a_graph_that_breaks_the_standard_fails_with_the_checkers_first_line(identity, file_of: Write) -> None:
    model = identity()
    model.graph.node[1].input[1] = "nowhere"
    check = verify_file(file_of(model), reference=None, target=None).checks[0]
    assert (check.outcome, "\n" in check.value) == ("failed", False)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"", "is empty", id="empty"),
        pytest.param(b"<!DOCTYPE html><html>", "not an ONNX file, or is damaged", id="a web page"),
        pytest.param(
            b"version https://git-lfs.github.com/spec/v1\n", "not an ONNX file, or is damaged", id="a git-LFS pointer"
        ),
        pytest.param(None, "no such file", id="missing"),
    ],
)
def test_what_is_no_onnx_file_is_refused(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "m.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        read_model(path)


def test_random_inputs_are_those_of_their_seed() -> None:
    first, again, other = (random_inputs((2, 3), 5, seed) for seed in (1, 1, 2))
    assert (first.shape, first.dtype) == ((5, 2, 3), np.float32)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
