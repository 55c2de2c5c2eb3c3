"""Shapes that inference cannot find, seen by running the network once: some graphs compute shapes themselves."""

import logging
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from onnx import helper
from onnx.onnx_ml_pb2 import ModelProto

from tinyml.errors import Refused
from tinyml.runtime.session import open_session

logger = logging.getLogger(__name__)


def observed_shapes(model: ModelProto, names: Sequence[str]) -> dict[str, tuple[tuple[int, ...], int]]:
    """Return (shape, ONNX element type) of the named tensors for an input of zeros; nothing where it does not run.

    Args:
        model: a model whose only input has a fixed shape; it is not changed.
        names: tensors of its main graph.
    """
    try:
        session = open_session(watched(model, names), optimized=False)
        shape = tuple(size if isinstance(size, int) else 1 for size in session.input_shape)
        values = session.run(np.zeros(shape, session.input_dtype))
    except (Refused, ValueError) as error:  # ValueError: protobuf's, above 2 GiB
        logger.debug("shapes of %s stay unknown: %s", ", ".join(names), error)
        return {}
    return {name: (values[name].shape, _element_type(values[name])) for name in names}


def watched(model: ModelProto, names: Sequence[str]) -> bytes:
    """Return the model, unchanged itself, as a file whose outputs are its own and the named tensors of its main graph.

    Raises:
        ValueError: it is larger than protobuf's 2 GiB.
    """
    copied = ModelProto()
    copied.CopyFrom(model)
    outputs = {entry.name for entry in copied.graph.output}
    added = (name for name in dict.fromkeys(names) if name not in outputs)
    copied.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in added)
    written: bytes = copied.SerializeToString()
    return written


def _element_type(value: NDArray[np.generic]) -> int:
    """Return ONNX's number of a numpy type."""
    return int(helper.np_dtype_to_tensor_dtype(value.dtype))
