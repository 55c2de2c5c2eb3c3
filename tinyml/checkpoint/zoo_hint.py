"""Which models of the zoo a checkpoint would fit, for the message that says it does not fit the one that was named."""

from collections.abc import Mapping

import torch
from torch import Tensor

from tinyml.models import MODELS

_COUNTER = "num_batches_tracked"


def fitting_models(tensors: Mapping[str, Tensor]) -> list[str]:
    """Return the names of the zoo's models, with their default arguments, that have exactly these names and shapes."""
    stored = {name: tuple(tensor.shape) for name, tensor in tensors.items() if not name.endswith(_COUNTER)}
    return [name for name in MODELS if _shapes(name) == stored]


def _shapes(name: str) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):  # shapes only: nothing is allocated or drawn
        state = MODELS[name].factory().state_dict()
    return {key: tuple(tensor.shape) for key, tensor in state.items() if not key.endswith(_COUNTER)}
