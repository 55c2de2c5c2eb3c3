"""Decoders: nodes on constants that make a tensor out of what is stored of it, with a count of their bytes."""

from typing import Any, final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from tinyml.graph.onnx_graphs import graphs


@final
class Names:
    """Short names that no tensor of a model has yet: every one stands in the file two times or more."""

    def __init__(self, model: onnx.ModelProto) -> None:
        """Read every name in the model, those of subgraphs too."""
        self._taken: set[str] = set()
        for graph in graphs(model.graph):
            values = (*graph.initializer, *graph.input, *graph.output)
            self._taken |= {item.name for item in values} | {name for node in graph.node for name in node.output}
        self._count = 0

    def fresh(self) -> str:
        """Return a name that was not there and was not given yet."""
        while (name := f"_{self._count}") in self._taken:
            self._count += 1
        self._taken.add(name)
        return name

    def free(self, *names: str) -> bool:
        """Return whether no tensor has any of these names."""
        return self._taken.isdisjoint(names)


@final
class Shared:
    """Small constants of one graph; those of equal value, type and shape are one tensor."""

    def __init__(self, names: Names, opset: int) -> None:
        """Start without constants; `opset` is what the model imports."""
        self.names, self.opset = names, opset
        self._tensors: dict[tuple[str, tuple[int, ...], bytes], TensorProto] = {}

    def name(self, array: NDArray[Any]) -> str:
        """Return the name of the constant."""
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._tensors:
            self._tensors[key] = numpy_helper.from_array(array, self.names.fresh())
        return str(self._tensors[key].name)

    def read_by(self, decoders: list["Decoder"]) -> list[TensorProto]:
        """Return the constants that these decoders read."""
        read = {name for decoder in decoders for node in decoder.nodes for name in node.input}
        return [tensor for tensor in self._tensors.values() if tensor.name in read]


@final
class Decoder:
    """The tensors stored for one constant, and the nodes that make it out of them.

    Attributes:
        fallback: what a newer opset would do in fewer nodes, and what is done here; "" where none would.
    """

    def __init__(self, shared: Shared) -> None:
        """Start without nodes."""
        self.nodes: list[NodeProto] = []
        self.tensors: list[TensorProto] = []
        self.fallback = ""
        self._shared = shared

    @property
    def opset(self) -> int:
        """Opset that the model imports."""
        return self._shared.opset

    def store(self, tensor: TensorProto) -> str:
        """Add a tensor of its own; return its name."""
        self.tensors.append(tensor)
        return str(tensor.name)

    def constant(self, array: NDArray[Any]) -> str:
        """Return the name of a small constant, which the decoders of a graph share."""
        return self._shared.name(array)

    def node(self, operator: str, *inputs: str, output: str = "", **attributes: int) -> str:
        """Add a node; return the name of what it makes."""
        made = output or self._shared.names.fresh()
        node = helper.make_node(operator, list(inputs), [made])
        node.attribute.extend(helper.make_attribute(key, value) for key, value in attributes.items())
        self.nodes.append(node)
        return made

    def cast(self, name: str, kind: TensorProto.DataType) -> str:
        """Add a Cast; return the name of what it makes."""
        return self.node("Cast", name, to=kind)

    def shaped(self, name: str, shape: tuple[int, ...], *, output: str = "") -> str:
        """Add a Reshape; return the name of what it makes."""
        return self.node("Reshape", name, self.constant(np.array(shape, np.int64)), output=output)

    @property
    def size_bytes(self) -> int:
        """Bytes in the file, without the shared constants."""
        return sum(map(stored_bytes, self.nodes)) + sum(map(stored_bytes, self.tensors))


def stored_bytes(item: NodeProto | TensorProto) -> int:
    """Return the bytes that an entry of a graph takes in the file: its own, its tag and its length."""
    size = int(item.ByteSize())
    return size + 1 + max(1, -(-size.bit_length() // 7))
