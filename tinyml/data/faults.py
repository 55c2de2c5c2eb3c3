"""What can be wrong with a split or a task, each fault as one line."""

import math
from collections.abc import Sequence

import numpy as np

from tinyml.data.split import Split

LAYOUTS = "uint8 (N, H, W, C) or float (N, ...)"


def array_faults(x: np.ndarray, y: np.ndarray) -> list[str]:
    """Return what is wrong with the arrays of a file, before their labels are compared with a list of classes."""
    faults = []
    if x.dtype == np.uint8 and x.ndim != 4:
        cure = "; add the channel axis: x[..., None]" if x.ndim == 3 else ""
        faults.append(f"x is uint8 with shape {x.shape}; allowed: {LAYOUTS}{cure}")
    elif x.dtype != np.uint8 and x.dtype.kind != "f":
        faults.append(f"x is {x.dtype} with shape {x.shape}; allowed: {LAYOUTS}")
    elif x.ndim < 2:
        faults.append(f"x has shape {x.shape}; allowed: {LAYOUTS}")
    elif 0 in x.shape:
        faults.append(f"x has shape {x.shape}: it holds no data")
    elif x.dtype.kind == "f" and not np.isfinite(x).all():
        row = int(np.argwhere(~np.isfinite(x))[0][0])
        faults.append(f"x holds {np.count_nonzero(~np.isfinite(x))} NaN or infinite values, the first in x[{row}]")
    if y.dtype.kind not in "iu" or y.ndim != 1:
        faults.append(f"y is {y.dtype} with shape {y.shape}; allowed: integers (N,)")
    elif x.ndim and len(x) != len(y):
        faults.append(f"x has {len(x)} examples and y has {len(y)} labels")
    return faults


def label_faults(y: np.ndarray, kind: str, classes: Sequence[str]) -> list[str]:
    """Return what is wrong with labels (N,), given how many classes there are."""
    limit = 2 if kind == "reconstruction" else len(classes)
    wrong = np.flatnonzero((y < 0) | (y >= limit))
    if not len(wrong):
        return []
    meaning = "0 (normal) and 1 (anomalous)" if kind == "reconstruction" else f"0 to {limit - 1} ({limit} classes)"
    return [f"y holds {len(wrong)} labels out of range, the first y[{wrong[0]}] = {y[wrong[0]]}; allowed: {meaning}"]


def shape_faults(splits: Sequence[Split]) -> list[str]:
    """Return a fault for each split whose examples differ in shape or type from those of the first."""
    first = splits[0]
    return [
        f"{split.source}: examples are {split.x.dtype} {split.x.shape[1:]}, "
        f"but {first.x.dtype} {first.x.shape[1:]} in {first.source}"
        for split in splits[1:]
        if (split.x.shape[1:], split.x.dtype) != (first.x.shape[1:], first.x.dtype)
    ]


def normalisation_faults(mean: Sequence[float], std: Sequence[float], channels: int | None) -> list[str]:
    """Return what is wrong with the normalisation of pixels with `channels` channels (None: floats)."""
    if channels is None:
        return ["mean and std are for uint8 pixels; float data is taken as it is"] if mean or std else []
    faults = []
    for name, values, positive in (("mean", mean, False), ("std", std, True)):
        if len(values) != channels:
            faults.append(f"{name} has {len(values)} values; the images have {channels} channels")
        if any(not (math.isfinite(v) and (v > 0 if positive else v >= 0) and v <= 1) for v in values):
            faults.append(
                f"{name} is {list(values)}; allowed: {'above 0' if positive else '0'} to 1 (of pixels scaled to 0-1)"
            )
    return faults
