"""Puts foreign weights into a module: names, shapes and kinds of numbers must match, and values be finite."""

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from tinyml.checkpoint.foreign import StateDict
from tinyml.checkpoint.wording import listed, printable
from tinyml.checkpoint.zoo_hint import fitting_models
from tinyml.errors import CheckpointError

_AT_MOST: Final = 8
_CANDIDATES: Final = 64  # more prefixes than any wrapper has; and of names to compare, so that no file takes for ever
_COMPARED: Final = 500
_LONGEST: Final = 200
_COUNTER: Final = "num_batches_tracked"  # BatchNorm's; old checkpoints lack it, and evaluation does not use it


def load_into(module: nn.Module, state: StateDict, *, source: Path) -> tuple[str, ...]:
    """Overwrite the module's parameters and buffers, and return notes on what was converted or renamed.

    Args:
        module: Takes the weights, in place, on its own device and in its own types. Untouched where they do not fit.
        state: What `read_state` returned.
        source: The file, for messages.

    Raises:
        CheckpointError: Names are missing or extra, shapes or kinds differ (all listed together), or values are not
            finite.
    """
    own = {name: tensor for name, tensor in module.state_dict().items() if isinstance(tensor, Tensor)}
    aligned, notes = _aligned(state.tensors, own)
    tensors = {name: aligned[name] for name in (*own, *aligned) if name in aligned}  # told in the network's order
    faults = [*_name_faults(tensors, own), *_shape_faults(tensors, own), *_kind_faults(tensors, own)]
    if faults:
        others = fitting_models(tensors)
        cure = f"It fits --model {' and '.join(others)} as it is by default." if others else "Is it of another --model?"
        raise CheckpointError(f"'{source}' does not fit the model: {'; '.join(faults)}. {cure}")
    if broken := _non_finite(tensors):
        raise CheckpointError(
            f"'{source}' holds values that are not finite: {'; '.join(broken)}. The training that wrote it diverged: "
            "use an earlier checkpoint."
        )
    with torch.no_grad():
        for name, tensor in tensors.items():
            own[name].copy_(tensor)
    return (*notes, *_conversions(tensors, own))


def _aligned(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Return the tensors under the module's names: a common prefix is removed or restored where that fits exactly."""
    if _fits(tensors, own):
        return dict(tensors), ()
    for prefix in _first_parts(own, at_least=len(_without_counters(own))):
        if _fits(restored := {prefix + name: tensor for name, tensor in tensors.items()}, own):
            return restored, (f"put the prefix '{printable(prefix)}' in front of the names",)
    found = []
    for prefix in _first_parts(tensors, at_least=len(_without_counters(own))):
        inner = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
        if _fits(inner, own):
            others = [name for name in tensors if not name.startswith(prefix)]
            note = f"removed the prefix '{printable(prefix)}' from {len(inner)} names"
            found.append((inner, (note + (f", left out {listed(others, at_most=6)}" if others else ""),)))
    return found[0] if len(found) == 1 else (dict(tensors), ())


def _first_parts(names: Mapping[str, Tensor], *, at_least: int) -> list[str]:
    """Return the first one or two parts of names, with their dot, that stand before at least so many names."""
    counts: dict[str, int] = {}
    for name in names:
        parts = name.split(".", 2)
        for depth in range(1, len(parts)):
            prefix = ".".join(parts[:depth]) + "."
            counts[prefix] = counts.get(prefix, 0) + 1
    return [prefix for prefix, count in counts.items() if count >= at_least][:_CANDIDATES]


def _fits(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> bool:
    return _without_counters(tensors) == _without_counters(own)


def _without_counters(names: Mapping[str, Tensor]) -> set[str]:
    return {name for name in names if not name.endswith(_COUNTER)}


def _name_faults(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> list[str]:
    missing = [name for name in own if name not in tensors and not name.endswith(_COUNTER)]
    extra = [name for name in tensors if name not in own]
    faults = []
    if missing:
        faults.append(f"{len(missing)} missing: {_with_nearest(missing, extra)}")
    if extra:
        faults.append(f"{len(extra)} that the model does not have: {listed(extra, at_most=_AT_MOST)}")
    return faults


def _with_nearest(missing: list[str], extra: list[str]) -> str:
    shown = []
    compared = [name for name in extra if len(name) <= _LONGEST][:_COMPARED]
    for name in missing[:_AT_MOST]:
        near = get_close_matches(name, compared, n=1, cutoff=0.6)
        shown.append(f"'{printable(name)}'" + (f" (is it '{printable(near[0])}'?)" if near else ""))
    rest = len(missing) - len(shown)
    return ", ".join(shown) + (f" and {rest} more" if rest else "")


def _shape_faults(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> list[str]:
    wrong = [
        f"'{name}' is {_shape(tensor)}, the model has {_shape(own[name])}"
        for name, tensor in tensors.items()
        if name in own and tensor.shape != own[name].shape
    ]
    return [f"{len(wrong)} of another shape: {_joined(wrong)}"] if wrong else []


def _kind_faults(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> list[str]:
    wrong = [
        f"'{name}' is {_dtype(tensor)}, the model has {_dtype(own[name])}"
        for name, tensor in tensors.items()
        if name in own and _kind(tensor) != _kind(own[name])
    ]
    return [f"{len(wrong)} of another kind of number: {_joined(wrong)}"] if wrong else []


def _non_finite(tensors: Mapping[str, Tensor]) -> list[str]:
    broken = []
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            continue
        finite = tensor if tensor.dtype.itemsize > 1 else tensor.float()  # torch has no isnan for 8-bit floats
        nans, infinities = int(finite.isnan().sum()), int(finite.isinf().sum())
        if nans or infinities:
            broken.append(f"'{name}' has {nans} NaN and {infinities} infinite of {tensor.numel()}")
    return [*broken[:_AT_MOST], f"and {len(broken) - _AT_MOST} more tensors"] if len(broken) > _AT_MOST else broken


def _conversions(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> tuple[str, ...]:
    counts: dict[tuple[str, str], int] = {}
    for name, tensor in tensors.items():
        if tensor.dtype != own[name].dtype:
            change = (_dtype(tensor), _dtype(own[name]))
            counts[change] = counts.get(change, 0) + 1
    return tuple(f"converted {count} tensors from {stored} to {ours}" for (stored, ours), count in counts.items())


def _kind(tensor: Tensor) -> str:
    if tensor.is_floating_point():
        return "float"
    if tensor.is_complex() or tensor.is_quantized:
        return _dtype(tensor)
    return "bool" if tensor.dtype == torch.bool else "integer"


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _shape(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape)) or "a single number"


def _joined(texts: list[str]) -> str:
    rest = len(texts) - _AT_MOST
    return ", ".join(texts[:_AT_MOST]) + (f" and {rest} more" if rest > 0 else "")
