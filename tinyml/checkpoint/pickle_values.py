"""What calls in a pickle come to without being made: records of tensors, dictionaries, and marks of everything else."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tinyml.checkpoint.pickle_names import DICTIONARIES, DTYPES
from tinyml.checkpoint.tensor_record import TensorRecord, describe_tensor


@dataclass(frozen=True, kw_only=True)
class Name:
    """A mention of 'module.attribute'; it was not imported."""

    path: str


@dataclass(frozen=True, kw_only=True)
class Left:
    """A value that was not built: it is no weight. `what` is the name of its type."""

    what: str

    def __str__(self) -> str:
        return f"a {self.what}"


def result_of(function: object, arguments: object) -> object:
    """Return what calling a name would give, as far as weights are concerned.

    Raises:
        CheckpointError: A tensor does not lie inside its storage.
        TypeError: The arguments are not those that torch writes.
    """
    path = function.path if isinstance(function, Name) else "an unnamed call"
    if path in DICTIONARIES:
        pairs = arguments[0] if isinstance(arguments, tuple) and arguments else ()
        return {as_key(key): value for key, value in pairs} if isinstance(pairs, list | tuple) else {}
    if isinstance(arguments, tuple) and path in _CALLS:
        return _CALLS[path](*arguments)
    return Left(what=path)


def as_key(key: object) -> object:
    """Return a key that is cheap to hash and to show: nested tuples can take exponential time."""
    cheap = isinstance(key, str | float | bytes | None) or (isinstance(key, int) and key.bit_length() <= 64)
    return key if cheap else Left(what=type(key).__name__)


def _tensor(storage: object, offset: object, shape: object, strides: object, *_: object) -> TensorRecord:
    return describe_tensor(storage, offset, shape, strides)


def _tensor_with_dtype(
    storage: object, offset: object, shape: object, strides: object, _: object, __: object, dtype: object, *___: object
) -> TensorRecord:
    if not isinstance(dtype, Name):
        raise TypeError("the type of a tensor is not a name")
    return describe_tensor(storage, offset, shape, strides, DTYPES[dtype.path])


def _first(value: object, *_: object) -> object:
    return value


def _rebuilt_from_type(function: object, _: object, arguments: object, *__: object) -> object:
    return result_of(function, arguments)


_CALLS: Final[dict[str, Callable[..., object]]] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor_with_dtype,
    "torch._utils._rebuild_parameter": _first,
    "torch._utils._rebuild_parameter_with_state": _first,
    "torch.nn.parameter.Parameter": _first,
    "torch.nn.parameter.Buffer": _first,
    "torch._tensor._rebuild_from_type_v2": _rebuilt_from_type,
    "torch.Size": _first,
}
