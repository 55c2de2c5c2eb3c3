"""Leave the zeros of sparse weights out of the file: one bit an element says where they are.

    bit  = (mask AND (128, 64, ..., 1)) != 0      mask: 8 elements a byte, the first in the highest bit
    rank = cumsum(bit) x bit                      0 where the element is zero, else its place among the others
    x    = (0, nonzeros)[rank]

That is 1 + b (1 - s) bits an element of b bits and sparsity s, in place of b: less as soon as s > 1 / b. The operators
are ONNX's own and read constants only, so a runtime computes them once, when it loads the file, and frees what lies
between (about 20 bytes an element): then speed and memory are those of a dense file. With float16 the non-zeros of a
float tensor are rounded to 11 bits, unless it has values that float16 cannot hold that well. A zero that is left out
comes back as +0.

Source: the sparse storage of Deep Compression (Han et al. 2016, section 2), with a bit mask in place of its relative
indices of 4 to 8 bits: smaller for sparsities up to 0.75, and decoded by a cumulative sum.
"""

from typing import Any, Final, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import GraphProto, TensorProto, numpy_helper

from tinyml.export.storage.decoder import Decoder, Names, Shared, stored_bytes
from tinyml.graph.onnx_constants import MASK_SUFFIX, NONZEROS_SUFFIX
from tinyml.graph.onnx_graphs import graphs

Nonzeros = Literal["exact", "float16", "dense"]
"""How the non-zeros of a sparse weight are stored: as they are, rounded to float16, or among their zeros."""

_FLOATS: Final = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE)
_CODES: Final = (TensorProto.INT8, TensorProto.UINT8)
_HALF_PRECISION: Final = 2.0**-11  # largest relative error of rounding to float16's 11 bits


def leave_out_zeros(model: onnx.ModelProto, nonzeros: Nonzeros = "exact") -> None:
    """Store float tensors and quantized weights without their zeros where that makes the file smaller, in place.

    Readers keep the name of the tensor: it becomes the output of its decoder. Constants of subgraphs stay in theirs.
    """
    if nonzeros == "dense":
        return
    names = Names(model)
    for graph in reversed(list(graphs(model.graph))):  # those inside first: rewriting a graph copies its nodes
        _rewrite(graph, names, half=nonzeros == "float16")


def _rewrite(graph: GraphProto, names: Names, *, half: bool) -> None:
    """Replace the tensors of one graph that pay, unless what their decoders share outweighs the gain."""
    shared, decoders, gain = Shared(names), {}, 0
    for tensor in _candidates(graph, names):
        decoder = _decoder(tensor, shared, half=half)
        if decoder is not None and decoder.size_bytes < stored_bytes(tensor):
            decoders[tensor.name] = decoder
            gain += stored_bytes(tensor) - decoder.size_bytes
    common = shared.read_by(list(decoders.values()))
    if gain <= sum(map(stored_bytes, common)):
        return
    tensors = [tensor for tensor in graph.initializer if tensor.name not in decoders]
    tensors += [*common, *(tensor for decoder in decoders.values() for tensor in decoder.tensors)]
    nodes = [*(node for decoder in decoders.values() for node in decoder.nodes), *graph.node]
    del graph.initializer[:]
    del graph.node[:]
    graph.initializer.extend(tensors)
    graph.node.extend(nodes)


def _candidates(graph: GraphProto, names: Names) -> list[TensorProto]:
    """Return the floats, and the codes that are dequantized; no tensor that the caller may replace."""
    given = {item.name for item in graph.input}
    codes = {node.input[0] for each in graphs(graph) for node in each.node if node.op_type == "DequantizeLinear"}
    return [
        tensor
        for tensor in graph.initializer
        if (tensor.data_type in _FLOATS or (tensor.data_type in _CODES and tensor.name in codes))
        and tensor.name not in given
        and names.free(f"{tensor.name}{MASK_SUFFIX}", f"{tensor.name}{NONZEROS_SUFFIX}")
    ]


def _decoder(tensor: TensorProto, shared: Shared, *, half: bool) -> Decoder | None:
    """Return the decoder of a tensor, or None where its bits and non-zeros alone are no smaller."""
    array = numpy_helper.to_array(tensor)
    if _payload_bytes(array) >= array.nbytes:
        return None
    if half and (rounded := _rounded(array)) is not None:
        return _written(rounded, np.dtype(np.float16), tensor.name, shared)
    return _written(array, array.dtype, tensor.name, shared)


def _payload_bytes(array: NDArray[Any]) -> int:
    return -(-array.size // 8) + (1 + int(np.count_nonzero(array))) * array.itemsize


def _rounded(array: NDArray[Any]) -> NDArray[Any] | None:
    """Return floats at float16's precision in their own type; None where one loses more than 2^-11 of the largest."""
    if array.dtype not in (np.float32, np.float64):
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        rounded = array.astype(np.float16).astype(array.dtype)
        error, largest = np.abs(rounded - array).max(), np.abs(array).max()
    return rounded if error <= _HALF_PRECISION * largest else None  # infinite or NaN: not


def _written(array: NDArray[Any], kind: np.dtype[Any], name: str, shared: Shared) -> Decoder:
    """Return the decoder that makes `array` under this name; its non-zeros are stored as `kind`."""
    decoder = Decoder(shared)
    bits = array.reshape(-1) != 0
    stored = np.concatenate([np.zeros(1, kind), array.reshape(-1)[bits].astype(kind)])
    mask = decoder.store(np.packbits(bits).reshape(-1, 1), f"{name}{MASK_SUFFIX}")
    values = decoder.store(stored, f"{name}{NONZEROS_SUFFIX}")
    if kind != array.dtype:
        values = decoder.cast(values, onnx.helper.np_dtype_to_tensor_dtype(array.dtype))
    rank = _rank(decoder, mask, array.size)
    flat = decoder.node("Gather", values, rank)
    decoder.node("Reshape", flat, decoder.constant(np.array(array.shape, np.int64)), output=name)
    return decoder


def _rank(decoder: Decoder, mask: str, elements: int) -> str:
    """Add the nodes that number the set bits of a mask (bytes, 1) from 1 on; return the tensor (elements,) int32."""
    powers = decoder.constant(np.packbits(np.eye(8, dtype=np.bool_)))
    apart = decoder.node("Reshape", decoder.node("BitwiseAnd", mask, powers), decoder.constant(np.array([-1])))
    if elements % 8:
        apart = decoder.node("Slice", apart, decoder.constant(np.array([0])), decoder.constant(np.array([elements])))
    bit = decoder.cast(decoder.cast(apart, TensorProto.BOOL), TensorProto.INT32)
    return decoder.node("Mul", decoder.node("CumSum", bit, decoder.constant(np.array(0))), bit)
