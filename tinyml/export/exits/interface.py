"""The types of tensors at the border of a stage, seen by running the network: inference does not find them all."""

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import ValueInfoProto, helper

from tinyml.errors import TinymlError
from tinyml.runtime.session import Session, open_session

BATCH = "batch"
"""Name of the first dimension of what goes into and comes out of a stage."""


def border_types(model: onnx.ModelProto, names: Sequence[str]) -> dict[str, ValueInfoProto]:
    """Return the element type and shape (batch, ...) of the named tensors, which the model computes from its input.

    Raises:
        TinymlError: the first dimension of one is not the batch, or another depends on it.
    """
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    outputs = {entry.name for entry in watched.graph.output}
    watched.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names if name not in outputs)
    session = open_session(watched.SerializeToString(), optimized=False)
    two, three = (_run(session, batch) for batch in (2, 3))
    types = {}
    for name in names:
        shape, larger = two[name].shape, three[name].shape
        if shape[:1] != (2,) or larger != (3, *shape[1:]):
            raise TinymlError(
                f"the network cannot be cut at tensor '{name}': its shape is {shape} for 2 inputs and {larger} for 3, "
                "but only the first dimension of what passes from stage to stage may be the batch. Choose another exit."
            )
        kind = helper.np_dtype_to_tensor_dtype(two[name].dtype)
        types[name] = helper.make_tensor_value_info(name, kind, [BATCH, *shape[1:]])
    return types


def _run(session: Session, batch: int) -> dict[str, np.ndarray]:
    """Return every output, and the input itself, for a batch of zeros."""
    x = np.zeros((batch, *(size for size in session.input_shape[1:] if isinstance(size, int))), session.input_dtype)
    return {**session.run(x), session.input_name: x}
