"""Store weight codes of 4 bits or fewer as INT4 behind DequantizeLinear, for a runtime that computes with those.

    DequantizeLinear(int8)                                  ->  DequantizeLinear(INT4)
    DequantizeLinear(int8, a row a group) -> Reshape        ->  DequantizeLinear(INT4, in blocks)
    either -> Transpose -> MatMul, or Gemm with transB      ->  transposed constants -> MatMul, Gemm

The last two are of linear layers, (C_out, C_in): kernels that multiply by INT4 weights want them as (C_in, C_out), with
blocks along C_in. The weights of convolutions keep their rows and Reshape.
"""

from dataclasses import dataclass
from typing import Final, final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tinyml.export.rewrites.index import GraphIndex, attribute
from tinyml.numerics.affine import signed_grid

_INT4: Final = signed_grid(4, symmetric=False)


@final
@dataclass(kw_only=True, eq=False)
class _Weight:
    """The constants of a DequantizeLinear, and how it reads them: scales of one axis, or in blocks along it."""

    codes: np.ndarray
    scale: np.ndarray
    zeros: np.ndarray | None
    axis: int
    block: int = 0

    def by_blocks(self, channels: int) -> None:
        """Turn rows (C_out G, n) of scales (C_out G,) into (C_out, G n), of scales (C_out, G)."""
        self.block, self.axis = self.codes.shape[1], 1
        self.codes = self.codes.reshape(channels, -1)
        self.scale = self.scale.reshape(channels, -1)
        self.zeros = None if self.zeros is None else self.zeros.reshape(channels, -1)

    def transpose(self) -> None:
        """Exchange both axes."""
        self.axis = 1 - self.axis
        self.codes, self.scale = self.codes.T, self.scale.T  # of one axis the scales stay as they are
        self.zeros = None if self.zeros is None else self.zeros.T


def store_four_bits(graph: onnx.GraphProto) -> None:
    """Rewrite in place; codes that other operators or several DequantizeLinear read stay int8."""
    for node in [node for node in graph.node if node.op_type == "DequantizeLinear"]:
        index = GraphIndex(graph)
        if not {*node.input} <= index.constants.keys() or len(index.consumers[node.input[0]]) != 1:
            continue
        codes = index.array(node.input[0])
        if codes.dtype != np.int8 or codes.min(initial=0) < _INT4.q_min or codes.max(initial=0) > _INT4.q_max:
            continue
        weight = _Weight(
            codes=codes,
            scale=index.array(node.input[1]),
            zeros=index.array(node.input[2]) if len(node.input) > 2 else None,
            axis=attribute(node, "axis", 1),
        )
        _take_in_moves(graph, node, index, weight)
        _write(graph, node, index, weight)


def _take_in_moves(graph: onnx.GraphProto, node: onnx.NodeProto, index: GraphIndex, weight: _Weight) -> None:
    """Let the constants have the shape that a linear layer multiplies by, and remove what gave it to them."""
    reader = index.only_reader(node.output[0])
    if reader is not None and reader.op_type == "Reshape" and reader.input[1] in index.constants:
        shape = index.array(reader.input[1])
        if len(shape) != 2 or weight.codes.ndim != 2 or weight.axis != 0 or weight.scale.ndim != 1:
            return
        weight.by_blocks(int(shape[0]))
        reader = _removed(graph, node, reader, index)
    if reader is not None and reader.op_type == "Transpose" and weight.codes.ndim == 2:
        weight.transpose()
        _removed(graph, node, reader, index)
    elif (
        reader is not None
        and reader.op_type == "Gemm"
        and reader.input[1] == node.output[0]
        and attribute(reader, "transB", 0)
    ):
        weight.transpose()
        kept = [entry for entry in reader.attribute if entry.name != "transB"]
        del reader.attribute[:]
        reader.attribute.extend(kept)


def _removed(
    graph: onnx.GraphProto, node: onnx.NodeProto, move: onnx.NodeProto, index: GraphIndex
) -> onnx.NodeProto | None:
    """Let the node make what the move behind it made; return the one node that reads that."""
    node.output[0] = move.output[0]
    graph.node.remove(move)
    return index.only_reader(move.output[0])


def _write(graph: onnx.GraphProto, node: onnx.NodeProto, index: GraphIndex, weight: _Weight) -> None:
    """Write the constants and read them; the codes keep their name."""
    name = node.input[0]
    index.constants[name].CopyFrom(_int4(weight.codes, name))
    constants = [numpy_helper.from_array(weight.scale.copy(), f"{name}_scales")]
    if weight.zeros is not None:
        constants.append(_int4(weight.zeros, f"{name}_zeros"))
    graph.initializer.extend(constants)
    del node.input[1:]
    node.input.extend(constant.name for constant in constants)
    settings = {"axis": weight.axis} | ({"block_size": weight.block} if weight.block else {})
    del node.attribute[:]
    node.attribute.extend(helper.make_attribute(key, value) for key, value in settings.items())


def _int4(values: np.ndarray, name: str) -> TensorProto:
    """Return whole numbers from -8 to 7 as INT4: two in a byte, the first in its lower half."""
    halves = np.zeros(values.size + values.size % 2, np.uint8)
    halves[: values.size] = values.reshape(-1).astype(np.uint8) & 0x0F
    packed = halves[::2] | (halves[1::2] << 4)
    return helper.make_tensor(name, TensorProto.INT4, values.shape, packed.tobytes(), raw=True)
