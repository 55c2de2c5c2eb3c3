"""An ONNX file read for counting: shapes for batch 1, constants, and who makes and uses each tensor."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, inliner, shape_inference
from onnx.onnx_ml_pb2 import GraphProto, ModelProto, NodeProto, TypeProto, ValueInfoProto

from tinyml.errors import CheckpointError
from tinyml.graph.onnx_constants import Constants
from tinyml.graph.onnx_graphs import graphs
from tinyml.manifest import fact_of, is_sealed, read_manifest
from tinyml.measure.observed_shapes import observed_shapes

_BITS_OF_SMALL_TYPES: Final[dict[int, int]] = {
    onnx.TensorProto.UINT4: 4,
    onnx.TensorProto.INT4: 4,
    onnx.TensorProto.FLOAT4E2M1: 4,
    onnx.TensorProto.UINT2: 2,
    onnx.TensorProto.INT2: 2,
}


@final
@dataclass(frozen=True, kw_only=True)
class TensorType:
    """Shape and element type of a tensor.

    Attributes:
        shape: its dimensions.
        element_type: ONNX's number of the element type.
    """

    shape: tuple[int, ...]
    element_type: int

    @property
    def elements(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def size_bytes(self) -> int:
        """Bytes that the tensor takes; types below 8 bits are packed."""
        bits = _BITS_OF_SMALL_TYPES.get(self.element_type, 0)
        if not bits:
            bits = 8 * int(helper.tensor_dtype_to_np_dtype(self.element_type).itemsize)
        return -(-self.elements * bits // 8)


@final
class Network:
    """An ONNX graph with the batch set to 1; subgraphs (the branches of an If) are read with it.

    Attributes:
        path: the file.
        graph: the main graph.
        types: shape and element type by tensor; one whose shape inference did not find is not there.
        constants: what depends on no input, with its values.
    """

    def __init__(self, path: Path, model: ModelProto) -> None:
        """Wrap a model whose shapes were inferred; use `read_network`."""
        self.path = path
        self.graph: GraphProto = model.graph
        self.types: dict[str, TensorType] = {}
        self._initializers: dict[str, onnx.TensorProto] = {}
        self._producers: dict[str, NodeProto] = {}
        opsets = {entry.domain: entry.version for entry in model.opset_import}
        self.constants = Constants(self._initializers, self._producers, opsets)
        for graph in graphs(model.graph):
            self._read(graph)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the tensors that the caller gives."""
        return tuple(entry.name for entry in self.graph.input if entry.name not in self._initializers)

    def nodes(self) -> Iterator[NodeProto]:
        """Yield every node, those of subgraphs behind the node that holds them."""
        for graph in graphs(self.graph):
            yield from graph.node

    def unknown(self) -> tuple[str, ...]:
        """Return the tensors of the main graph whose shape is not known, constants aside."""
        made = (name for node in self.graph.node for name in node.output if name)
        return tuple(name for name in made if name not in self.types and not self.is_constant(name))

    def learn(self, shapes: Mapping[str, tuple[tuple[int, ...], int]]) -> None:
        """Take over shapes and element types of tensors."""
        for name, (shape, element_type) in shapes.items():
            self.types[name] = TensorType(shape=shape, element_type=element_type)

    def producer(self, name: str) -> NodeProto | None:
        """Return the node that makes a tensor; None for inputs and initializers."""
        return self._producers.get(name)

    def is_constant(self, name: str) -> bool:
        """Return whether a tensor depends on no input: it is stored, or computed from what is stored."""
        return name in self.constants

    def sources(self, name: str) -> tuple[str, ...]:
        """Return the stored tensors that a constant is computed from; see `Constants.sources`."""
        return self.constants.sources(name)

    def value(self, name: str) -> NDArray[Any]:
        """Return the value of a constant; see `Constants.value`."""
        return self.constants.value(name)

    def _read(self, graph: GraphProto) -> None:
        """Take over the tensors and nodes of one graph."""
        for tensor in graph.initializer:
            self._initializers[tensor.name] = tensor
            self.types[tensor.name] = TensorType(shape=tuple(tensor.dims), element_type=tensor.data_type)
        for info in (*graph.input, *graph.value_info, *graph.output):
            if found := _fixed_type(info.type):
                self.types.setdefault(info.name, found)
        for node in graph.node:
            self._producers.update((name, node) for name in node.output if name)


def read_network(path: Path, input_shape: tuple[int, ...] = ()) -> Network:
    """Return the network in an ONNX file, its shapes inferred for batch 1.

    Args:
        path: the ONNX file; its external data is read with it.
        input_shape: shape of one input without the batch, for dimensions that the file leaves open.

    Raises:
        CheckpointError: the file is missing, damaged or not ONNX, contradicts itself, or leaves a dimension open that
            `input_shape` does not give.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; give an ONNX file or a run directory that holds model.onnx.")
    try:
        model = onnx.load(path)
        if model.functions:
            model = inliner.inline_local_functions(model)
    except Exception as error:  # protobuf's, onnx's and the file system's errors share no base class but Exception
        raise CheckpointError(f"{path}: it is cut short, not an ONNX file, or its external data is missing.") from error
    if not model.graph.node and not model.graph.output:
        raise CheckpointError(f"{path}: it is empty, cut short or not an ONNX file.")
    stored = {tensor.name for tensor in model.graph.initializer}
    inputs = [entry for entry in model.graph.input if entry.name not in stored]
    # Where the file fixes another batch, the shapes in it were written for that one: inference finds them anew.
    stale = any(dimension.dim_value > 1 for entry in inputs for dimension in entry.type.tensor_type.shape.dim[:1])
    sizes: dict[str, int] = {}
    for entry in inputs:
        sizes |= _fix_dimensions(path, entry, input_shape)
    for entry in (*model.graph.value_info, *model.graph.output):
        if stale:
            entry.type.tensor_type.ClearField("shape")
        _set_sizes(entry, sizes)
    network = Network(path, _inferred(path, model))
    if unknown := network.unknown():
        network.learn(observed_shapes(model, unknown))
    return network


def _inferred(path: Path, model: ModelProto) -> ModelProto:
    """Return the model with the shapes that inference finds; CheckpointError where the file contradicts itself."""
    imported = {_domain(entry.domain) for entry in model.opset_import}
    nodes = [node for graph in graphs(model.graph) for node in graph.node]
    if stray := next((node for node in nodes if _domain(node.domain) not in imported), None):
        raise CheckpointError(
            f"{path}: {stray.op_type} '{stray.name or ', '.join(stray.output)}' is of the domain "
            f"'{_domain(stray.domain)}', of which the file imports no opset; export it again with that import."
        )
    try:
        return shape_inference.infer_shapes(model, data_prop=True)
    except shape_inference.InferenceError as error:
        raise CheckpointError(f"{path}: the graph contradicts itself: {' '.join(str(error).split())}") from error


def _domain(name: str) -> str:
    """Return the name of a domain; that of ONNX itself may be left empty."""
    return name or "ai.onnx"


def find_onnx(path: Path) -> Path:
    """Return the ONNX file that a path means: the file itself, or the model.onnx of a run directory.

    Raises:
        CheckpointError: there is no such file or directory, the directory holds no model.onnx, or another one than it
            was sealed with.
    """
    if path.is_dir():
        file = path / "model.onnx"
        if not file.is_file():
            raise CheckpointError(f"{path}: the directory holds no model.onnx; give a run directory or an ONNX file.")
        if is_sealed(path) and read_manifest(path, error=CheckpointError).files.get(file.name) != fact_of(file):
            raise CheckpointError(f"{file}: is not the file that the run was sealed with; make the run anew.")
        return file
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file or directory; give a run directory or an ONNX file.")
    return path


def _fix_dimensions(path: Path, info: ValueInfoProto, input_shape: tuple[int, ...]) -> dict[str, int]:
    """Set the batch of an input to 1 and its other open dimensions to `input_shape`; return the sizes by their name."""
    dimensions = info.type.tensor_type.shape.dim
    sizes: dict[str, int] = {}
    for index, dimension in enumerate(dimensions):
        if dimension.HasField("dim_value") and dimension.dim_value > 0 and index > 0:
            continue
        if index > 0 and len(input_shape) != len(dimensions) - 1:
            given = f"; {input_shape} has {len(input_shape)}" if input_shape else ""
            raise CheckpointError(
                f"{path}: dimension {index} of input '{info.name}' is open ('{dimension.dim_param}'); "
                f"give --input-shape with {len(dimensions) - 1} sizes{given}."
            )
        size = 1 if index == 0 else input_shape[index - 1]
        if dimension.dim_param:
            sizes[dimension.dim_param] = size
        dimension.Clear()
        dimension.dim_value = size
    return sizes


def _set_sizes(info: ValueInfoProto, sizes: dict[str, int]) -> None:
    """Give a tensor's named dimensions the sizes that they have in the inputs; what stays open, inference finds out."""
    for dimension in info.type.tensor_type.shape.dim:
        if dimension.dim_param in sizes:
            size = sizes[dimension.dim_param]
            dimension.Clear()
            dimension.dim_value = size
        elif dimension.dim_param:
            dimension.Clear()


def _fixed_type(kind: TypeProto) -> TensorType | None:
    """Return the type of a tensor where every dimension is known."""
    tensor = kind.tensor_type
    if not kind.HasField("tensor_type") or not tensor.HasField("shape") or not tensor.elem_type:
        return None
    if not all(dimension.HasField("dim_value") for dimension in tensor.shape.dim):
        return None
    return TensorType(shape=tuple(dimension.dim_value for dimension in tensor.shape.dim), element_type=tensor.elem_type)
