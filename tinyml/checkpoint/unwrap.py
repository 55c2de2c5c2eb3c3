"""Finds the state dict in what a training program saved around it, and undoes the prefixes that wrappers put there."""

from collections.abc import Mapping
from typing import Final

from tinyml.checkpoint.pickle_values import Left
from tinyml.checkpoint.tensor_record import TensorRecord
from tinyml.checkpoint.wording import listed, printable
from tinyml.errors import CheckpointError

Records = dict[str, TensorRecord]

# The plain weights first: an average (EMA) is taken only where nothing else is there.
_PLAIN_WRAPPERS: Final = (
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "module",
    "net",
    "network",
    "net_state_dict",
    "params",
    "weights",
    "student",
    "backbone",
)
_AVERAGED_WRAPPERS: Final = (
    "model_ema",
    "state_dict_ema",
    "ema_state_dict",
    "model_ema_state_dict",
    "ema",
    "ema_model",
    "params_ema",
    "averaged_model",
    "swa_state_dict",
)
_WRAPPERS: Final = (*_PLAIN_WRAPPERS, *_AVERAGED_WRAPPERS)
_OTHER_TENSORS: Final = frozenset({"optimizer", "optimizer_state_dict", "optim", "scheduler", "scaler", "amp"})
_MAX_DEPTH: Final = 5


def find_state_dict(content: object) -> tuple[Records, tuple[str, ...]]:
    """Return the records of the weights by name, and one note for every wrapper that was undone.

    Raises:
        CheckpointError: No tensors are there, or several sets of weights of which none is the plain one.
    """
    notes: list[str] = []
    current = content
    for _ in range(_MAX_DEPTH):
        if not isinstance(current, dict):
            raise CheckpointError(
                f"it holds a {_kind(current)}, not a state dict. "
                "Write one: torch.save(model.state_dict(), 'weights.pt')"
            )
        if any(isinstance(value, TensorRecord) for value in current.values()):
            return _tensors_of(current, notes)
        name = _choose(current)
        others = [str(key) for key in current if key != name]
        notes.append(f"took '{printable(name)}'" + (f", left out {listed(others, at_most=6)}" if others else ""))
        current = current[name]
    raise CheckpointError("its weights are wrapped too deep to be found")


def strip_wrappers(names: list[str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the bare name of every name, and notes: 'module.' (DataParallel) and '_orig_mod.' (compile) go."""
    bare = {name: name for name in names}
    notes = []
    compiled = [name for name in names if "_orig_mod." in name]
    if compiled:
        bare = {name: name.replace("_orig_mod.", "") for name in names}
        notes.append(f"removed '_orig_mod.' (torch.compile) from {len(compiled)} names")
    # An averaged model of torch.optim.swa_utils counts its updates beside the wrapped module.
    while (wrapped := [name for name in names if bare[name] != "n_averaged"]) and all(
        bare[name].startswith("module.") for name in wrapped
    ):
        bare = {name: bare[name].removeprefix("module.") for name in wrapped}
        names = wrapped
        notes.append(f"removed the prefix 'module.' (DataParallel) from {len(wrapped)} names")
    if len(set(bare.values())) != len(bare):
        return {name: name for name in names}, ()
    return bare, tuple(notes)


def _tensors_of(found: dict[object, object], notes: list[str]) -> tuple[Records, tuple[str, ...]]:
    records = {key: value for key, value in found.items() if isinstance(key, str) and isinstance(value, TensorRecord)}
    others = [f"{key} ({_kind(value)})" for key, value in found.items() if key not in records]
    if others:
        notes.append(f"left out what is no tensor: {listed(others, at_most=6)}")
    return records, tuple(notes)


def _choose(wrapper: Mapping[object, object]) -> str:
    holding = [key for key, value in wrapper.items() if isinstance(key, str) and _holds_tensors(value)]
    for name in _WRAPPERS:
        if name in holding:
            return name
    rest = [name for name in holding if name.lower() not in _OTHER_TENSORS]
    if len(rest) == 1:
        return rest[0]
    if not rest:
        keys = listed([str(key) for key in wrapper], at_most=6) or "nothing"
        raise CheckpointError(f"no weights are in it: it holds {keys}. Save model.state_dict()")
    raise CheckpointError(
        f"several sets of weights are in it: {listed(rest)}. Save the one that is meant: "
        f"torch.save(checkpoint['{printable(rest[0])}'], 'weights.pt')"
    )


def _holds_tensors(value: object) -> bool:
    """Return whether a dictionary holds tensors, itself or behind names of wrappers (an optimizer's lie as deep)."""
    layer = [value]
    for _ in range(_MAX_DEPTH):
        found = {
            id(item): item for item in layer if isinstance(item, dict)
        }  # a hostile file shares one many times over
        if any(isinstance(item, TensorRecord) for inner in found.values() for item in inner.values()):
            return True
        layer = [item for inner in found.values() for key, item in inner.items() if key in _WRAPPERS]
    return False


def _kind(value: object) -> str:
    if isinstance(value, TensorRecord):
        return "single tensor"
    return value.what if isinstance(value, Left) else type(value).__name__
