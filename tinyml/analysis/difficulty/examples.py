"""How hard each example of a task is: the classes that probes and network give it, and its prediction depth."""

import io
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray

from tinyml.numerics.prediction_depth import prediction_depths

Integers = NDArray[np.int64]


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Examples:
    """One split, example by example.

    Attributes:
        source: of the split, for reports.
        indices: int64 (N,): rows of the split as the data has it.
        labels: int64 (N,).
        predictions: int64 (N,): the network's own answers.
        margins: float32 (N,): the largest logit minus the second largest.
        probes: int64 (L, N): the class that each probe gives, from the input to the output.
    """

    source: str
    indices: Integers
    labels: Integers
    predictions: Integers
    margins: NDArray[np.float32]
    probes: Integers

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self.labels)

    @property
    def depths(self) -> Integers:
        """Prediction depth (N,), 0 to L."""
        return prediction_depths(torch.from_numpy(self.probes), torch.from_numpy(self.predictions)).numpy()

    @property
    def right(self) -> NDArray[np.bool_]:
        """Whether the network's answer (N,) is the label."""
        return np.asarray(self.predictions == self.labels)


def depths_file(splits: dict[str, Examples], scores: NDArray[np.float64] | None) -> bytes:
    """Return depths.npz: of each split `{split}_indices`, `_depth`, `_prediction`, `_label`, `_margin`, `_probes`.

    Args:
        splits: by name.
        scores: C-scores of the train split, `train_c_score`; None where there are none.
    """
    arrays: dict[str, NDArray[Any]] = {}
    for name, examples in splits.items():
        arrays |= {
            f"{name}_indices": examples.indices,
            f"{name}_depth": examples.depths.astype(np.int16),
            f"{name}_prediction": examples.predictions.astype(np.int32),
            f"{name}_label": examples.labels.astype(np.int32),
            f"{name}_margin": examples.margins,
            f"{name}_probes": examples.probes.astype(np.int32),
        }
    if scores is not None:
        arrays["train_c_score"] = scores
    content = io.BytesIO()
    np.savez_compressed(content, allow_pickle=False, **arrays)
    return content.getvalue()
