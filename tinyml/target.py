"""Targets: profiles of the devices and runtimes that an ONNX file is made for."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from tinyml.errors import TargetError, did_you_mean
from tinyml.runtime.probe import probe_machine
from tinyml.shipped import shipped
from tinyml.yaml_file import Document, json_schema, parse_document, read_document
from tinyml.yaml_text import dump_yaml

TARGETS: dict[str, str] = {
    "cpu": "this machine's CPU, by a probe: one of the CPU targets below",
    "x86-avx2": "x86-64 with AVX2 and no VNNI: its 8-bit sums saturate, so weights have 7 bits; right on every CPU",
    "x86-vnni": "x86-64 with VNNI (AVX-512 or AVX-VNNI): full 8-bit weights",
    "arm64": "64-bit ARM: signed 8-bit activations and weights",
    "cuda": "NVIDIA GPUs by onnxruntime's CUDA provider: float32 and float16, no integer kernels",
    "tensorrt": "NVIDIA GPUs by onnxruntime's TensorRT provider: int8 with symmetric activations",
}

# onnx.reference, which checks our files, has a right DequantizeLinear from opset 19 on.
LOWEST_INTEGER_OPSET = 19
LOWEST_OPSET_OF_16_BITS = 21
LOWEST_OPSET_OF_INT4 = 21


@dataclass(frozen=True, kw_only=True)
class IntegerScheme:
    """How the runtime wants 8-bit integers.

    Attributes:
        activations: type of the activations.
        weights: type of the weights, symmetric per output channel.
        weight_range: 'full' has magnitudes up to 127, 'reduced' (7 bits) up to 64, whose pairwise sums fit 16 bits.
        activation_symmetric: whether the zero point of every activation is 0 (int8 only).
        biases: type that biases are stored in: int32 on the accumulator's grid, or float32 where the runtime's parser
            takes no int32.
        activation_bits: how many bits activations may have there.
    """

    activations: Literal["uint8", "int8"]
    weights: Literal["int8"] = "int8"
    weight_range: Literal["full", "reduced"]
    activation_symmetric: bool = False
    biases: Literal["int32", "float32"] = "int32"
    activation_bits: tuple[Annotated[int, Field(ge=4, le=16)], ...] = (4, 5, 6, 7, 8, 16)


@dataclass(frozen=True, kw_only=True)
class Target:
    """A device profile.

    Attributes:
        version: of the file format.
        name: of the target.
        summary: one sentence for lists.
        provider: onnxruntime's execution provider.
        opset: of the exported file.
        ir_version: of the exported file.
        integer: how 8-bit integers must look; None where the provider has no integer kernels.
        integer_reason: why there is no integer scheme, and what to do instead; empty where there is one.
        channel_multiple: channel counts that are multiples of this are fast.
        saturates: whether 8-bit sums saturate at 16 bits there; None where it is not known.
        weight_storage: 'packed' stores weights of 4 bits or fewer in the bytes they need, decoded when the file is
            loaded; 'int4' stores them as INT4 behind DequantizeLinear, for a runtime that computes with those.
    """

    version: Literal[1] = 1
    name: Annotated[str, Field(min_length=1)]
    summary: str
    provider: Annotated[str, Field(pattern="^[A-Za-z]+ExecutionProvider$")]
    opset: Annotated[int, Field(ge=18, le=25)] = 21
    ir_version: Annotated[int, Field(ge=8, le=13)] = 10
    integer: IntegerScheme | None
    integer_reason: str = ""
    channel_multiple: Annotated[int, Field(ge=1, le=256)] = 8
    saturates: bool | None = None
    weight_storage: Literal["packed", "int4"] = "packed"


def load_target(spec: str) -> Target:
    """Return the target with this name, or the one in this YAML file; 'cpu' is what a probe finds this machine to be.

    Raises:
        TargetError: where there is no such name or file, or the file is wrong.
    """
    if spec == "cpu":
        machine = probe_machine()
        spec = cpu_target(machine.cpu.architecture, saturates=machine.int8_saturates)
    if spec in TARGETS:
        return _read(shipped("targets") / f"{spec}.yaml")
    if spec.endswith((".yaml", ".yml")):
        return _read(Path(spec))
    names = ", ".join(TARGETS)
    raise TargetError(f"unknown target {spec!r}; allowed: {names}, or a .yaml file.{did_you_mean(spec, TARGETS)}")


def cpu_target(architecture: str, *, saturates: bool) -> str:
    """Return the name of the target that a CPU of this architecture ("x86_64", "aarch64", ...) is."""
    if architecture.lower() in ("aarch64", "arm64"):
        return "arm64"
    # Of an unknown architecture, 7-bit weights are the choice that no kernel can get wrong.
    return "x86-vnni" if architecture.lower() in ("x86_64", "amd64") and not saturates else "x86-avx2"


def target_yaml(target: Target) -> str:
    """Return the target as the text of a YAML file with every default, which `load_target` reads back as equal."""
    return dump_yaml(asdict(target))


def parse_target(text: str, source: str = "target") -> Target:
    """Return the target in this YAML text, which `target_yaml` wrote; `source` names it in messages.

    Raises:
        TargetError: the text is wrong.
    """
    return _checked(parse_document(text, source, error=TargetError))


def target_schema() -> dict[str, Any]:
    """Return the JSON Schema of target files."""
    return json_schema(Target)


def _read(path: Path) -> Target:
    return _checked(read_document(path, error=TargetError))


def _checked(document: Document) -> Target:
    target = document.validate(Target, document.value) if isinstance(document.value, dict) else None
    if target and target.integer and target.opset < LOWEST_INTEGER_OPSET:
        document.fault(
            ("opset",), f"must be at least {LOWEST_INTEGER_OPSET} where integer is given, not {target.opset}"
        )
    if target and target.weight_storage == "int4" and target.opset < LOWEST_OPSET_OF_INT4:
        document.fault(("opset",), f"must be at least {LOWEST_OPSET_OF_INT4} for INT4 weights, not {target.opset}")
    if target and target.integer is None and not target.integer_reason:
        document.fault(("integer_reason",), "must say why there is no integer scheme")
    if target and target.integer and target.integer.activation_symmetric and target.integer.activations == "uint8":
        document.fault(("integer", "activation_symmetric"), "must be false with uint8 activations")
    document.raise_faults()
    if target is None:
        raise TargetError(f"{document.source}: is no target")
    return target
