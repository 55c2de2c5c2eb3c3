"""Reads the weights of convolution and linear layers back out of an ONNX file, as its runtime will see them.

A weight is whatever constant reaches the weight input of Conv, ConvTranspose, Gemm or MatMul: an initializer, or a
chain of operators on constants (DequantizeLinear, Cast, Gather from a codebook, Transpose, ...), evaluated here.
"""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

import numpy as np
from onnx import helper
from onnx.onnx_ml_pb2 import NodeProto

from tinyml.graph.packed_weights import CODEBOOK_SUFFIX, INDICES_SUFFIX, MASK_SUFFIX, NONZEROS_SUFFIX
from tinyml.measure.network import Network, read_network

_LOG = logging.getLogger(__name__)
_WEIGHT_INPUTS: Final = {"Conv": (1,), "ConvTranspose": (1,), "Gemm": (1,), "MatMul": (1, 0)}
_STORAGE_SUFFIX: Final = re.compile(r"(_(quantized|codes|codebook|indices|mask|values))+$")
_EXPORTER_NAME: Final = re.compile(r"^(onnx::\w+|val_\d+|\d+|_?tensor_constant\d*)$")


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class LayerWeights:
    """The weights of one layer.

    Attributes:
        name: the layer's, as its module was called: "layer1.0.conv1".
        operator: the operator that uses them: "Conv".
        nodes: names of the nodes that use them, one for each call of the layer; the first output's where one has none.
        values: as the arithmetic sees them, float32, any shape.
        stored: as the arithmetic of scales finds them: int8 codes, centroids, or the floats themselves.
        packed: how the file stores them in fewer bytes: "4-bit codebook"; "" where it stores them as they are.
        size_bytes: of all tensors in the file that the values are computed from: codes, scales, codebooks, masks.
    """

    name: str
    operator: str
    nodes: tuple[str, ...] = ()
    values: np.ndarray
    stored: np.ndarray
    packed: str = ""
    size_bytes: int = 0

    @property
    def form(self) -> str:
        """How the file stores the weights: "4-bit codebook", "bit mask + float16", "int8"."""
        return self.packed or str(self.stored.dtype)


def weights_of(path: Path, input_shape: tuple[int, ...] = ()) -> dict[str, LayerWeights]:
    """Return the weights by layer name, in the graph's order; the branches of an If come behind the graph around it.

    A layer that is used twice appears once. A second layer of the same name gets " (2)". A weight whose operators are
    not known here is left out, with a warning in the log.

    Args:
        path: an ONNX file.
        input_shape: shape of one input without the batch, for dimensions that the file leaves open.

    Raises:
        CheckpointError: the file is missing or is no ONNX model.
    """
    network = read_network(path, input_shape)
    layers: dict[str, LayerWeights] = {}
    for weight, nodes in _users(network).items():
        node = nodes[0]
        try:
            values = network.value(weight).astype(np.float32)
        except (NotImplementedError, RuntimeError) as error:
            _LOG.warning("the weights of node '%s' (%s) cannot be decoded: %s", node.name, node.op_type, error)
            continue
        # The largest is the weight itself: scales, zero points and codebooks are smaller.
        source = max(network.sources(weight), key=lambda name: network.value(name).size)
        name = _free_name(_layer_name(source, node), layers)
        layers[name] = LayerWeights(
            name=name,
            operator=node.op_type,
            nodes=tuple(user.name or user.output[0] for user in nodes),
            values=values,
            stored=network.value(source),
            packed=_packed(network, source),
            size_bytes=sum(_stored_bytes(network, each) for each in network.sources(weight)),
        )
    return layers


def _stored_bytes(network: Network, source: str) -> int:
    """Return the bytes of a stored tensor; of a packed one those of its parts."""
    return sum(network.types[name].size_bytes for name in network.constants.parts(source) or (source,))


def _packed(network: Network, source: str) -> str:
    """Return how a weight was packed, in words; "" for one that was not."""
    parts = {part.removeprefix(source): network.types[part] for part in network.constants.parts(source)}
    words = ["bit mask"] if MASK_SUFFIX in parts else []
    if NONZEROS_SUFFIX in parts:
        words.append(helper.tensor_dtype_to_np_dtype(parts[NONZEROS_SUFFIX].element_type).name)
    if CODEBOOK_SUFFIX in parts:
        entries = parts[CODEBOOK_SUFFIX].shape[-1] - len(words)  # the last one behind a mask is a zero
        integers = f" of {network.value(source).dtype}" if network.value(source).dtype.kind in "iu" else ""
        words.append(f"{_bits(entries)}-bit codebook{integers}")
    elif INDICES_SUFFIX in parts:
        words.append(f"{_bits(int(np.ptp(network.value(source).astype(np.int64))) + 1)}-bit integers")
    return " + ".join(words)


def _bits(count: int) -> int:
    """Return the bits that tell so many things apart."""
    return max(1, (count - 1).bit_length())


def _users(network: Network) -> dict[str, list[NodeProto]]:
    """Return the nodes by the constant weight that they use, in the graph's order."""
    users: dict[str, list[NodeProto]] = {}
    for node in network.nodes():
        if weight := _weight_input(network, node):
            users.setdefault(weight, []).append(node)
    return users


def _weight_input(network: Network, node: NodeProto) -> str:
    """Return the name of the node's constant weight input, or "" where it has none."""
    places = _WEIGHT_INPUTS.get(node.op_type, ())
    names = [node.input[place] for place in places if place < len(node.input)]
    return next((name for name in names if network.is_constant(name)), "")


def _layer_name(initializer: str, node: NodeProto) -> str:
    """Return "layer1.0.conv1" for "layer1.0.conv1.weight_quantized"; the node's name where the initializer has none."""
    name = _STORAGE_SUFFIX.sub("", initializer).replace(".parametrizations.weight.original", ".weight")
    if _EXPORTER_NAME.match(name):
        name = node.name.strip("/").removeprefix("node_").removesuffix(f"/{node.op_type}") or name
    return name.removesuffix(".weight")


def _free_name(name: str, taken: Mapping[str, LayerWeights]) -> str:
    """Return the name, numbered where another layer has it already."""
    number = 2
    free = name
    while free in taken:
        free = f"{name} ({number})"
        number += 1
    return free
