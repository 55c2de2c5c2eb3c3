"""Store every weight in the form of the fewest bytes, decoded when a session loads the file.

The decoders are operators of ONNX that read constants only: a runtime computes them once, when it loads the file, and
frees what lies between (about 40 bytes an element of one weight). Then speed and memory are those of a dense file. A
weight stays as it is, for everyone to read, where an eighth of its bytes would not be saved: int8 codes of 7 bits.
"""

import logging
from typing import Final, Literal

import onnx
from onnx import GraphProto, TensorProto, helper, numpy_helper

from tinyml.export.storage.decoder import Decoder, Names, Shared, stored_bytes
from tinyml.export.storage.forms import decoders
from tinyml.graph.onnx_graphs import graphs
from tinyml.graph.packed_weights import SUFFIXES

logger = logging.getLogger(__name__)

Nonzeros = Literal["exact", "float16", "dense"]
"""How weights are stored: packed and exact; the same, with the non-zeros of a sparse one in float16; or as they are."""

_FLOATS: Final = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE)
_CODES: Final = (TensorProto.INT8, TensorProto.UINT8)
_DECODING: Final = ("DequantizeLinear", "Cast")
_WORTH: Final = 7 / 8  # largest share of a tensor's bytes that a decoder may take


def pack_weights(model: onnx.ModelProto, nonzeros: Nonzeros = "exact") -> None:
    """Store float tensors and quantized weights in fewer bytes where there is a form for them, in place.

    Readers keep the name of the tensor: it becomes the output of its decoder. Constants of subgraphs stay in theirs.
    """
    if nonzeros == "dense":
        return
    names, opset = Names(model), storage_opset(model)
    for graph in reversed(list(graphs(model.graph))):  # those inside first: rewriting a graph copies its nodes
        _rewrite(graph, Shared(names, opset), names, half=nonzeros == "float16")


def storage_opset(model: onnx.ModelProto) -> int:
    """Return the opset whose types may store weights: a type of an opset wants the IR version of its time."""
    opset = next(item.version for item in model.opset_import if item.domain in ("", "ai.onnx"))
    return min(int(opset), _newest_opset(model.ir_version))


def smallest_decoder(tensor: TensorProto, shared: Shared, *, half: bool) -> Decoder | None:
    """Return the decoder of the fewest bytes; None where the tensor is better stored as it is."""
    found = decoders(numpy_helper.to_array(tensor), tensor.name, shared, half=half)
    smallest = min(found, key=lambda decoder: decoder.size_bytes, default=None)
    return smallest if smallest is not None and smallest.size_bytes <= _WORTH * stored_bytes(tensor) else None


def _newest_opset(ir_version: int) -> int:
    """Return the newest opset of the releases of ONNX that wrote this IR version."""
    return max(opset for _, written, opset, *_ in helper.VERSION_TABLE if written <= ir_version)


def _rewrite(graph: GraphProto, shared: Shared, names: Names, *, half: bool) -> None:
    """Replace the tensors of one graph that pay, unless what their decoders share outweighs the gain."""
    chosen: dict[str, Decoder] = {}
    gain = 0
    for tensor in _candidates(graph, names):
        if (smallest := smallest_decoder(tensor, shared, half=half)) is not None:
            chosen[tensor.name] = smallest
            gain += stored_bytes(tensor) - smallest.size_bytes
    common = shared.read_by(list(chosen.values()))
    if gain <= sum(map(stored_bytes, common)):
        return
    for fallback in sorted({decoder.fallback for decoder in chosen.values()} - {""}):
        logger.info("%s", fallback)
    tensors = [tensor for tensor in graph.initializer if tensor.name not in chosen]
    tensors += [*common, *(tensor for decoder in chosen.values() for tensor in decoder.tensors)]
    nodes = [*(node for decoder in chosen.values() for node in decoder.nodes), *graph.node]
    del graph.initializer[:]
    del graph.node[:]
    graph.initializer.extend(tensors)
    graph.node.extend(nodes)


def _candidates(graph: GraphProto, names: Names) -> list[TensorProto]:
    """Return the floats, and the codes that become floats; no tensor that the caller may replace."""
    given = {item.name for item in graph.input}
    codes = {node.input[0] for each in graphs(graph) for node in each.node if node.op_type in _DECODING}
    return [
        tensor
        for tensor in graph.initializer
        if (tensor.data_type in _FLOATS or (tensor.data_type in _CODES and tensor.name in codes))
        and tensor.name not in given
        and names.free(*(f"{tensor.name}{suffix}" for suffix in SUFFIXES))
    ]
