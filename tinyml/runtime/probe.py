"""What this machine can do, found out by trying: above all whether its int8 saturates.

On x86 without VNNI, onnxruntime multiplies uint8 activations by int8 weights in pairs and adds each pair in 16 bits
(`vpmaddubsw`), which holds -32768..32767. The probe is a 1x1 convolution whose every product is as large as it can be:

    255 x 127 x C   with C input channels        one pair: 255 x 127 x 2 = 64,770 > 32,767, so it saturates
    exact output    255 x 127 x C x S_in x S_w   S_out = S_in S_w 127 C  ->  quantized output 255

A saturating machine returns about half of that (32,767 / 64,770 = 0.506 -> 129).
"""

import functools
import platform
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Final, final

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper
from onnx.onnx_ml_pb2 import ModelProto

from tinyml.runtime.cpu import Cpu, read_cpu
from tinyml.runtime.session import available_providers, open_session

_CHANNELS: Final = 64
_SIZE: Final = 8
_EXACT: Final = 255
_PACKAGES: Final = (
    "tinyml", "torch", "onnx", "onnxscript", "onnxruntime", "onnxruntime-gpu", "torch-pruning", "numpy",
)  # fmt: skip


@final
@dataclass(frozen=True, kw_only=True)
class Int8Probe:
    """The quantized output of the probe convolution, whose exact value is `exact`, in three sessions.

    Attributes:
        exact: what integer arithmetic without loss gives.
        optimized: a default session.
        unoptimized: graph optimisations off: the convolution is computed in float.
        x64_quant_precision: a session with `session.x64quantprecision=1`.
    """

    exact: int
    optimized: int
    unoptimized: int
    x64_quant_precision: int

    @property
    def saturates(self) -> bool:
        """Whether a default session loses what does not fit into 16 bits; one step is rounding."""
        return abs(self.optimized - self.exact) > 1


@final
@dataclass(frozen=True, kw_only=True)
class Machine:
    """What this machine can do.

    Attributes:
        cpu: the processor.
        system: operating system and release.
        python: version of Python.
        packages: installed versions by name of package; a package that is not installed is not there.
        providers: execution providers of onnxruntime, the preferred first.
        int8: what the probe convolution gave.
        int8_saturates: whether int8 networks with 8-bit weights lose accuracy on this CPU.
    """

    cpu: Cpu
    system: str
    python: str
    packages: dict[str, str]
    providers: tuple[str, ...]
    int8: Int8Probe
    int8_saturates: bool

    def to_json(self) -> dict[str, object]:
        """Return the facts as JSON values, nested as here."""
        return asdict(self)


@functools.cache
def probe_machine() -> Machine:
    """Return what this machine can do; probed once in a process (about 50 ms)."""
    int8 = probe_int8()
    return Machine(
        cpu=read_cpu(),
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        packages=installed_packages(),
        providers=available_providers(),
        int8=int8,
        int8_saturates=int8.saturates,
    )


def probe_int8() -> Int8Probe:
    """Run the probe convolution three ways on the CPU and return the largest error's output of each."""
    model = probe_network().SerializeToString()
    x = np.ones((1, _CHANNELS, _SIZE, _SIZE), np.float32)

    def quantized(optimized: bool, x64_quant_precision: bool) -> int:
        session = open_session(model, optimized=optimized, x64_quant_precision=x64_quant_precision)
        steps = np.rint(session.run(x)["output"] * _EXACT).astype(np.int64)
        return int(steps.flat[np.abs(steps - _EXACT).argmax()])

    return Int8Probe(
        exact=_EXACT,
        optimized=quantized(True, False),
        unoptimized=quantized(False, False),
        x64_quant_precision=quantized(True, True),
    )


def probe_network() -> ModelProto:
    """Return the probe: a QDQ 1x1 convolution, uint8 activations, int8 weights, float input and output 0..1."""
    full = np.full((_CHANNELS, _CHANNELS, 1, 1), 127, np.int8)
    constants = {
        "activation_scale": np.float32(1 / 255),
        "activation_zero": np.uint8(0),
        "weight": full,
        "weight_scale": np.full(_CHANNELS, 1 / (127 * _CHANNELS), np.float32),
        "weight_zero": np.zeros(_CHANNELS, np.int8),
    }
    activation = ["activation_scale", "activation_zero"]
    nodes = [
        helper.make_node("QuantizeLinear", ["input", *activation], ["q"]),
        helper.make_node("DequantizeLinear", ["q", *activation], ["x"]),
        helper.make_node("DequantizeLinear", ["weight", "weight_scale", "weight_zero"], ["w"], axis=0),
        helper.make_node("Conv", ["x", "w"], ["y"], kernel_shape=[1, 1]),
        helper.make_node("QuantizeLinear", ["y", *activation], ["y_q"]),
        helper.make_node("DequantizeLinear", ["y_q", *activation], ["output"]),
    ]
    shape = [1, _CHANNELS, _SIZE, _SIZE]
    graph = helper.make_graph(
        nodes,
        "int8_probe",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    checker.check_model(model)
    return model


def installed_packages() -> dict[str, str]:
    """Return the versions of the packages that matter here, read without importing them."""
    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def int8_meaning(machine: Machine) -> str:
    """Return in plain words what the probe found and what it means for a network."""
    if machine.int8_saturates:
        return (
            "int8 saturates on this CPU: products with 8-bit weights overflow 16 bits, and a network loses accuracy "
            "that it has elsewhere. 7-bit weights are safe."
        )
    if machine.cpu.architecture.lower() in ("x86_64", "amd64"):
        return (
            "int8 is exact on this CPU: full 8-bit weights are safe here. A file that must also run on x86 without "
            "VNNI wants 7-bit weights all the same."
        )
    return "int8 is exact on this CPU: full 8-bit weights are safe here."
