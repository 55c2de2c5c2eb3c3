"""Which targets a quantized model suits."""

from dataclasses import replace

import pytest
from torch import nn

from tinyml.errors import TargetError
from tinyml.layers.quantizers import ActivationQuantizer
from tinyml.numerics.affine import signed_grid, unsigned_grid
from tinyml.pipeline.prepare import prepare
from tinyml.pipeline.target_fit import check_target
from tinyml.target import TARGETS, load_target


def quantized(*, signed: bool, zero_point: int = 0, bits: int = 8) -> nn.Module:
    quantizer = ActivationQuantizer(signed_grid(bits, symmetric=False) if signed else unsigned_grid(bits))
    quantizer.zero_point.fill_(zero_point)
    return nn.Sequential(quantizer)


@pytest.mark.parametrize("name", TARGETS)
def test_a_float_model_suits_every_target(name: str) -> None:
    check_target(nn.Linear(2, 2), load_target(name))


@pytest.mark.parametrize(
    ("model", "target"),
    [
        pytest.param(quantized(signed=False, zero_point=7), "x86-avx2", id="unsigned on x86"),
        pytest.param(quantized(signed=False, zero_point=7), "x86-vnni", id="unsigned on x86 with VNNI"),
        pytest.param(quantized(signed=True, zero_point=7), "arm64", id="signed on ARM"),
        pytest.param(quantized(signed=True), "tensorrt", id="signed and symmetric on TensorRT"),
    ],
)
def test_the_integers_of_the_target_suit_it(model: nn.Module, target: str) -> None:
    check_target(model, load_target(target))


@pytest.mark.parametrize(
    ("model", "target", "message"),
    [
        pytest.param(
            quantized(signed=False), "arm64", "are uint8, and target 'arm64' wants int8", id="unsigned on ARM"
        ),
        pytest.param(quantized(signed=True), "x86-avx2", "are int8, and .* wants uint8", id="signed on x86"),
        pytest.param(
            quantized(signed=True, zero_point=1), "tensorrt", "wants symmetric ones", id="zero points on TensorRT"
        ),
        pytest.param(
            quantized(signed=True, bits=6), "tensorrt", "have 6 bits, and .* has not", id="6 bits on TensorRT"
        ),
        pytest.param(quantized(signed=False), "cuda", "has no integer kernels", id="integers on CUDA"),
    ],
)
def test_other_integers_are_refused_with_the_cure(model: nn.Module, target: str, message: str) -> None:
    with pytest.raises(TargetError, match=f"{message}.*start from the float checkpoint with --target {target}"):
        check_target(model, load_target(target))


def test_a_chain_is_asked_before_work_begins(job, int8_run) -> None:
    other = replace(load_target("arm64"), name="board")
    with pytest.raises(TargetError, match="--target board"):
        prepare(job("baseline", checkpoint=int8_run, model="", target=other))
