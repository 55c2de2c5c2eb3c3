"""Networks with exits as they ship: a tiny one written by hand, and captured ones; for what cuts, joins and runs them."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import torch
import user_models
from onnx import NodeProto, TensorProto, helper, numpy_helper
from random_task import IMAGES, random_context, trained, uncompressed

from tinyml.export import to_onnx
from tinyml.export.exits import stage_files
from tinyml.models import MODELS
from tinyml.passes.early_exit import EarlyExit
from tinyml.passes.linear_quantization import Calibration, LinearQuantization
from tinyml.runtime.exit_policy import ExitPolicy
from tinyml.runtime.session import open_session
from tinyml.target import load_target

CLASSES = 3
TINY_SHAPE = (4, 8, 8)
SHAPE = (3, 32, 32)
FACTORIES = {
    "resnet": MODELS["resnet20-cifar"].factory,
    "densenet": user_models.densenet_like,
    "mobilenetv3": user_models.mobilenetv3_like,
    "vit": user_models.small_vit,
}


def images(count: int, shape: tuple[int, ...] = TINY_SHAPE) -> np.ndarray:
    return np.random.default_rng(1).standard_normal((count, *shape)).astype(np.float32)


def graph_with_exits(
    nodes: Sequence[NodeProto], constants: dict[str, np.ndarray], *, exits: int, width: int | None = CLASSES
) -> onnx.ModelProto:
    """The nodes as a model from `input` (batch, 4, 8, 8) to `output_0`, `output_1`, ..."""
    graph = helper.make_graph(
        list(nodes),
        "graph",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", *TINY_SHAPE])],
        [helper.make_tensor_value_info(f"output_{i}", TensorProto.FLOAT, ["batch", width]) for i in range(exits)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def tiny(*, int8: bool = False) -> onnx.ModelProto:
    """Three residual layers and three heads; with int8, every value between them on a grid of its own."""
    generator = np.random.default_rng(0)
    constants: dict[str, np.ndarray] = {"zero": np.uint8(128), "weight_scale": np.float32(1 / 64)}
    nodes: list[NodeProto] = []
    value = _grid("input", 0, nodes, constants) if int8 else "input"
    for layer in range(3):
        weight = generator.normal(0, 0.2, (4, 4, 3, 3)).astype(np.float32)
        constants[f"layer{layer}.weight"] = np.rint(weight * 64).astype(np.int8)
        decode = helper.make_node("DequantizeLinear", [f"layer{layer}.weight", "weight_scale"], [f"weight{layer}"])
        convolve = helper.make_node("Conv", [value, f"weight{layer}"], [f"conv{layer}"], f"layer{layer}", pads=[1] * 4)
        nodes += [decode, convolve]
        convolved = _grid(f"conv{layer}", 10 + layer, nodes, constants) if int8 else f"conv{layer}"
        nodes.append(helper.make_node("Add", [convolved, value], [f"sum{layer}"]))
        value = _grid(f"sum{layer}", 1 + layer, nodes, constants) if int8 else f"sum{layer}"
        constants[f"head{layer}.weight"] = generator.normal(0, 4, (4, CLASSES)).astype(np.float32)
        nodes += [
            helper.make_node("GlobalAveragePool", [value], [f"pooled{layer}"]),
            helper.make_node("Flatten", [f"pooled{layer}"], [f"flat{layer}"]),
            helper.make_node("MatMul", [f"flat{layer}", f"head{layer}.weight"], [f"output_{layer}"], f"head{layer}"),
        ]
    return graph_with_exits(nodes, constants, exits=3)


def _grid(name: str, number: int, nodes: list[NodeProto], constants: dict[str, np.ndarray]) -> str:
    """Put a value on a grid of steps that grow with the number; return the name of what is read behind it."""
    constants[f"scale{number}"] = np.float32((4 + number) / 128)
    grid = [f"scale{number}", "zero"]
    nodes.append(helper.make_node("QuantizeLinear", [name, *grid], [f"{name}_codes"]))
    nodes.append(helper.make_node("DequantizeLinear", [f"{name}_codes", *grid], [f"{name}_read"]))
    return f"{name}_read"


@cache
def captured(name: str, *, int8: bool = False) -> onnx.ModelProto:
    """A network of FACTORIES with two early exits, untrained, as it is exported; do not change it."""
    torch.manual_seed(0)
    model, context = uncompressed(trained(FACTORIES[name](classes=10)), SHAPE), random_context(SHAPE)
    model = EarlyExit(exits=2).apply(model, context)
    if int8:
        step = LinearQuantization(calibration=Calibration(method="minmax", images=IMAGES))
        model = step.apply(model, context)
    return to_onnx(model.module, input_shape=SHAPE, target=load_target("x86-avx2"))


def write_stages(directory: Path, stages: Sequence[onnx.ModelProto], policy: ExitPolicy) -> None:
    """Write the files of stages to an existing directory."""
    for name, content in stage_files(stages, policy).items():
        (directory / name).write_bytes(content)


def outputs(model: onnx.ModelProto, x: np.ndarray) -> list[np.ndarray]:
    """Every output of a network."""
    return list(open_session(model.SerializeToString()).run(x).values())
