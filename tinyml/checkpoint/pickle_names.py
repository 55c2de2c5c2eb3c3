"""Which names a pickled checkpoint may mention, and what it means when it mentions another."""

import sys
from collections.abc import Iterable
from typing import Final

import torch

from tinyml.checkpoint.wording import listed

STORAGES: Final[dict[str, torch.dtype]] = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "ComplexFloatStorage": torch.complex64,
    "ComplexDoubleStorage": torch.complex128,
    "QInt8Storage": torch.qint8,
    "QUInt8Storage": torch.quint8,
    "QInt32Storage": torch.qint32,
    "UntypedStorage": torch.uint8,
}
STORAGE_MODULES: Final = frozenset({"torch", "torch.cuda", "torch.storage"})

DTYPES: Final[dict[str, torch.dtype]] = {
    f"torch.{name}": value for name, value in sorted(vars(torch).items()) if isinstance(value, torch.dtype)
}

DICTIONARIES: Final = frozenset({"collections.OrderedDict", "collections.defaultdict", "collections.Counter"})

# Values that training programs like to keep beside the weights. They are noted as "something", never built.
_INERT: Final = frozenset(
    {
        *DICTIONARIES,
        *DTYPES,
        *(f"{module}.{name}" for module in STORAGE_MODULES for name in STORAGES),
        *(
            f"{module}.{name}"
            for module in ("builtins", "__builtin__")
            for name in ("set", "frozenset", "bytearray", "complex", "slice", "range", "list", "dict", "tuple")
        ),
        *(f"builtins.{name}" for name in ("int", "float", "str", "bool", "bytes", "object")),
        *(f"datetime.{name}" for name in ("datetime", "date", "time", "timedelta", "timezone")),
        *(
            f"{module}.{name}"
            for module in ("pathlib", "pathlib._local")
            for name in ("Path", "PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath")
        ),
        *(f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("scalar", "_reconstruct")),
        "_codecs.encode",
        "argparse.Namespace",
        "collections.deque",
        "copy_reg._reconstructor",
        "copyreg._reconstructor",
        "decimal.Decimal",
        "lightning_fabric.utilities.data.AttributeDict",
        "numpy.dtype",
        "numpy.ndarray",
        "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint",
        "pytorch_lightning.utilities.parsing.AttributeDict",
        "torch.Size",
        "torch.Tensor",
        "torch._tensor._rebuild_from_type_v2",
        "torch._utils._rebuild_parameter",
        "torch._utils._rebuild_parameter_with_state",
        "torch._utils._rebuild_qtensor",
        "torch._utils._rebuild_sparse_tensor",
        "torch._utils._rebuild_tensor",
        "torch._utils._rebuild_tensor_v2",
        "torch._utils._rebuild_tensor_v3",
        "torch.device",
        "torch.nn.parameter.Buffer",
        "torch.nn.parameter.Parameter",
        "torch.per_channel_affine",
        "torch.per_tensor_affine",
        "torch.serialization._get_layout",
        "types.SimpleNamespace",
        "uuid.UUID",
    }
)

# Weights need nothing else of the standard library, and all of an attack's means are there (or in Python 2's).
_ATTACKS_COME_FROM: Final = sys.stdlib_module_names | {"__builtin__", "commands", "cloudpickle", "dill", "pip"}

_CURE: Final = (
    "Nothing in it was run. tinyml reads weights only: in the program that made it, "
    "write torch.save(model.state_dict(), 'weights.pt') or a .safetensors file."
)


def is_inert(name: str) -> bool:
    """Return whether 'module.name' may stand in a checkpoint: a part of a tensor, or a plain value."""
    return name in _INERT or name.startswith("numpy.dtypes.")


def explain_names(names: Iterable[str]) -> str:
    """Return why a checkpoint that mentions these other names is refused, and what to do."""
    unknown = list(dict.fromkeys(names))
    attacks = [name for name in unknown if name.partition(".")[0] in _ATTACKS_COME_FROM or name == "torch.load"]
    if attacks:
        shown = listed(attacks, at_most=4)
        return f"would run {shown} if it were unpickled: that is how an attack hides in a checkpoint. {_CURE}"
    return (
        f"holds Python objects, not only weights: {listed(unknown, at_most=4)}. "
        f"It is a whole pickled module, or was saved with objects of the program beside the weights. {_CURE}"
    )
