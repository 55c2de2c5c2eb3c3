"""Under which tensor's name the values of an activation are really stored: a runtime that fuses writes fewer tensors.

- A tensor that only QuantizeLinear reads, all to one scale and zero point, is stored quantized.
- DequantizeLinear in front of operators that have an integer form stores nothing.
- Activations and reshapes (`FUSED_OR_IN_PLACE`) that alone read a tensor leave their result in its place.

It may take several of these steps: of Conv -> Relu -> QuantizeLinear, the quantized tensor is stored alone.
"""

from typing import final

from onnx.onnx_ml_pb2 import NodeProto

from tinyml.graph.onnx_graphs import subgraphs
from tinyml.measure.network import Network
from tinyml.measure.operators import FUSED_OR_IN_PLACE, HAS_INTEGER_FORM


@final
class Storage:
    """Says where the values of each tensor of a network are stored."""

    def __init__(self, network: Network) -> None:
        """Read who reads each tensor, in subgraphs too."""
        self._network = network
        self._outputs = {entry.name for entry in network.graph.output}
        self._readers: dict[str, list[NodeProto]] = {}
        self._found: dict[str, str] = {}
        for node in network.nodes():
            for graph in subgraphs(node):
                self._outputs |= {entry.name for entry in graph.output}
            for name in node.input:
                self._readers.setdefault(name, []).append(node)

    def __call__(self, name: str) -> str:
        """Return the tensor that holds the values of `name`."""
        if name not in self._found:
            self._found[name] = self._find(name)
        return self._found[name]

    def size_bytes(self, node: NodeProto) -> int:
        """Return the bytes that a node which runs stores as its outputs; those of unknown shape count nothing."""
        runs_alone = node.op_type == "DequantizeLinear"  # had the reader taken it in, it would not run
        names = [name if runs_alone else self(name) for name in node.output if name]
        return sum(self._network.types[name].size_bytes for name in names if name in self._network.types)

    def _find(self, name: str) -> str:
        readers = self._readers.get(name, [])
        maker = self._network.producer(name)
        if name in self._outputs:
            return name
        if maker is not None and maker.op_type == "QuantizeLinear" and (first := self._first_alike(maker)) != name:
            return self(first)
        integer_readers = bool(readers) and all(reader.op_type in HAS_INTEGER_FORM for reader in readers)
        if maker is not None and maker.op_type == "DequantizeLinear" and integer_readers:
            return self(maker.input[0])
        if maker is None or not readers or readers[0].input[0] != name:
            return name
        if readers[0].op_type == "QuantizeLinear" and all(_alike(readers[0], reader) for reader in readers):
            return self(readers[0].output[0])
        if len(readers) == 1 and readers[0].op_type in FUSED_OR_IN_PLACE:
            return self(readers[0].output[0])
        return name

    def _first_alike(self, quantizer: NodeProto) -> str:
        """Return the output of the first node that quantizes the same tensor in the same way."""
        readers = self._readers[quantizer.input[0]]
        return next(str(reader.output[0]) for reader in readers if _alike(reader, quantizer))


def _alike(first: NodeProto, second: NodeProto) -> bool:
    """Return whether two nodes compute the same from the same tensors."""
    return (
        first.op_type == second.op_type
        and list(first.input) == list(second.input)
        and list(first.attribute) == list(second.attribute)
    )
