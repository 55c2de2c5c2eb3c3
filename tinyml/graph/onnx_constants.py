"""The constants of an ONNX graph with their values, in whatever form the file stores them.

A constant is an initializer, or what operators make of initializers alone: integers behind DequantizeLinear, and the
bit masks, indices and codebooks that `tinyml.export.storage` writes. Whoever reads weights out of a file reads them
here.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, numpy_helper
from onnx.reference import ReferenceEvaluator

from tinyml.graph.dequantized import dequantized
from tinyml.graph.onnx_graphs import subgraphs
from tinyml.graph.packed_weights import INDICES_SUFFIX, NONZEROS_SUFFIX, SUFFIXES

_LOWEST_OPSET: Final = 19  # of a right DequantizeLinear in onnx.reference


@final
class Constants:
    """The constants among the tensors of a graph and its subgraphs."""

    def __init__(
        self,
        initializers: Mapping[str, TensorProto],
        producers: Mapping[str, NodeProto],
        opsets: Mapping[str, int] | None = None,
    ) -> None:
        """Keep the initializers and the makers of tensors, by name; `opsets` are those that the file imports."""
        self._initializers = initializers
        self._producers = producers
        imported = opsets or {"": _LOWEST_OPSET}
        self._opsets = {name: max(version, 1 if name else _LOWEST_OPSET) for name, version in imported.items()}
        self._values: dict[str, NDArray[Any]] = {}

    def __contains__(self, name: str) -> bool:
        """Return whether a tensor depends on no input: it is stored, or computed from what is stored."""
        return name in self._initializers or name in self._made

    @cached_property
    def _made(self) -> set[str]:
        """The tensors that operators make of stored ones; in a file every node stands behind those that it reads."""
        made: set[str] = set()
        for name, node in self._producers.items():
            read = (source in self._initializers or source in made for source in node.input if source)
            if all(read) and not subgraphs(node) and not node.op_type.startswith(("Random", "Multinomial")):
                made.add(name)
        return made

    def parts(self, name: str) -> tuple[str, ...]:
        """Return the tensors that `tinyml.export.storage` stores of a packed weight; none for any other tensor."""
        if name not in self._producers:
            return ()
        found = tuple(f"{name}{suffix}" for suffix in SUFFIXES if f"{name}{suffix}" in self._initializers)
        return found if any(part.endswith((NONZEROS_SUFFIX, INDICES_SUFFIX)) for part in found) else ()

    def sources(self, name: str) -> tuple[str, ...]:
        """Return the stored tensors that a constant is computed from, each once.

        They are initializers, Constant nodes, and packed weights, which count as one.
        """
        node = self._producers.get(name)
        if node is None or not any(node.input) or self.parts(name):
            return (name,)
        return tuple(dict.fromkeys(source for entry in node.input if entry for source in self.sources(entry)))

    def value(self, name: str) -> NDArray[Any]:
        """Return the value of a constant, computed from what is stored.

        Raises:
            NotImplementedError, RuntimeError: it is made by an operator that onnx's reference cannot compute.
        """
        if name in self._initializers:
            return numpy_helper.to_array(self._initializers[name])
        if name not in self._values:  # what lies between stored and asked for is larger and not kept
            self._values[name] = self._computed(name, {})
        return self._values[name]

    def _computed(self, name: str, known: dict[str, NDArray[Any]]) -> NDArray[Any]:
        """Return the value of a tensor; `known` collects those on the way to it."""
        if name in self._initializers:
            return numpy_helper.to_array(self._initializers[name])
        if name not in known:
            node = self._producers[name]
            inputs = {entry: self._computed(entry, known) for entry in node.input if entry}
            if node.op_type == "DequantizeLinear":
                known[name] = dequantized(node, inputs)
            elif node.op_type == "GatherElements":  # onnx's reference fails on a table of more than 32 entries
                axis = next((entry.i for entry in node.attribute if entry.name == "axis"), 0)
                table, indices = (inputs[entry] for entry in node.input)
                known[name] = np.take_along_axis(table, indices.astype(np.int64), axis)
            else:
                results = list(ReferenceEvaluator(node, opsets=self._opsets).run(None, inputs))
                known.update(zip(node.output, map(np.asarray, results), strict=True))
        return known[name]
