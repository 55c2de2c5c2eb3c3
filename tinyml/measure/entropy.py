"""What is left of a file where every code is written in as many bits as its entropy: a bound for Huffman codes.

    bits = n H,    H = -sum p_s log2 p_s    over the n symbols of a tensor, with p_s the share of symbol s

The symbols are those of weights that are stored as codes: integers of 8 bits or fewer, indices (one code for each
codebook), bit masks. Other tensors and the graph count as they are, and the tables of the codes count nothing: no
Huffman code of single symbols is shorter. No runtime reads such a file; it is what Deep Compression (Han et al. 2016,
section 4) reports as its third stage, at best.
"""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from tinyml.graph.packed_weights import CODEBOOK_SUFFIX, INDICES_SUFFIX, MASK_SUFFIX
from tinyml.measure.measurement import Measurement
from tinyml.measure.network import Network
from tinyml.measure.size import shipped_files

_DECODING: Final = ("DequantizeLinear", "Cast")
_CODES: Final = (
    TensorProto.INT8, TensorProto.UINT8, TensorProto.INT4, TensorProto.UINT4, TensorProto.INT2, TensorProto.UINT2,
)  # fmt: skip


def entropy_bytes(network: Network) -> Measurement:
    """Return the bytes of the file with the codes of its weights at their entropy."""
    tensors = dict(_coded(network))
    stored = sum(size for size, _ in tensors.values())
    bound = sum(least for _, least in tensors.values())
    size = sum(file.stat().st_size for file in shipped_files(network.path))
    return Measurement(
        metric="entropy_bytes",
        value=size - stored + bound,
        unit="bytes",
        details={"coded_tensors": len(tensors), "stored_bytes": stored, "bound_bytes": bound},
        estimated=True,
    )


def code_bytes(symbols: NDArray[Any], groups: int = 1) -> int:
    """Return the least bytes of symbols of any type in a code for each of so many equal runs; rounded up at the end."""
    _, symbol = np.unique(symbols.reshape(-1).view(f"u{symbols.itemsize}"), return_inverse=True)
    run = np.arange(symbol.size) * groups // max(symbol.size, 1)
    _, place, counts = np.unique(run * (symbol.size + 1) + symbol, return_inverse=True, return_counts=True)
    shares = counts[place] * groups / max(symbol.size, 1)
    return int(np.ceil(-np.log2(shares).sum() / 8))


def _coded(network: Network) -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield each weight that is stored as codes: its name, the bytes of its codes in the file and the least."""
    made = [name for node in network.nodes() for name in node.output]
    packed = {name: parts for name in made if (parts := network.constants.parts(name))}
    for name, parts in packed.items():
        yield name, _packed(network, name, parts)
    counted = {part for parts in packed.values() for part in parts}
    for node in network.nodes():
        name = node.input[0] if node.op_type in _DECODING else ""
        if name in network.types and network.is_constant(name) and network.producer(name) is None:
            kind = network.types[name]
            if kind.element_type in _CODES and name not in counted:
                yield name, (kind.size_bytes, code_bytes(network.value(name)))


def _packed(network: Network, name: str, parts: tuple[str, ...]) -> tuple[int, int]:
    """Return the bytes of mask and indices, and the least; where values stand behind the mask, it alone is a code."""
    codes = [part for part in parts if part.endswith((MASK_SUFFIX, INDICES_SUFFIX))]
    values, table = network.value(name), network.types.get(f"{name}{CODEBOOK_SUFFIX}")
    if f"{name}{INDICES_SUFFIX}" not in parts:
        values = values != 0
    groups = table.shape[0] if table is not None and len(table.shape) > 1 else 1
    return sum(network.types[part].size_bytes for part in codes), code_bytes(values, groups)
