"""Graphs written by hand, and the same graph run before and after a rewrite."""

from collections.abc import Callable, Sequence

import numpy as np
import onnx
import pytest
from onnx import NodeProto, TensorProto, helper, numpy_helper

from tinyml.runtime.session import open_session

Shape = Sequence[int | str]


class HandMade:
    """A model written by hand.

    Attributes:
        model: what rewrites change.
    """

    def __init__(
        self, nodes: Sequence[NodeProto], constants: dict[str, np.ndarray], *, shape: Shape, outputs: Sequence[str]
    ) -> None:
        graph = helper.make_graph(
            list(nodes),
            "graph",
            [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
            [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
        )
        self.model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
        self.shape = tuple(size if isinstance(size, int) else 2 for size in shape)

    @property
    def graph(self) -> onnx.GraphProto:
        return self.model.graph

    @property
    def operators(self) -> list[str]:
        return [node.op_type for node in self.graph.node]

    def run(self) -> list[np.ndarray]:
        """Every output for one input, noise of 1.5 standard deviations, in onnxruntime as the graph is written."""
        onnx.checker.check_model(onnx.shape_inference.infer_shapes(self.model), full_check=True)
        x = np.random.default_rng(1).normal(0, 1.5, self.shape).astype(np.float32)
        return list(open_session(self.model.SerializeToString(), optimized=False).run(x).values())

    def outputs_kept_by(self, rewrite: Callable[[onnx.GraphProto], None]) -> bool:
        """Apply the rewrite; return whether every output is the same, bit for bit."""
        before = self.run()
        rewrite(self.graph)
        return all(np.array_equal(one, other) for one, other in zip(before, self.run(), strict=True))


@pytest.fixture
def hand_made() -> Callable[..., HandMade]:
    def make(
        nodes: Sequence[NodeProto],
        constants: dict[str, np.ndarray] | None = None,
        *,
        shape: Shape = ("batch", 4),
        outputs: Sequence[str] = ("output",),
    ) -> HandMade:
        return HandMade(nodes, constants or {}, shape=shape, outputs=outputs)

    return make
