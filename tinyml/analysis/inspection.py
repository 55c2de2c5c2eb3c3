"""What the weights of a network are, layer by layer: how many, how many zeros and distinct values, in which range.

The weights are those of an ONNX file, of a torch model, or simply the tensors of a checkpoint.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from tinyml.analysis.onnx_weights import LayerWeights, weights_of
from tinyml.errors import CheckpointError
from tinyml.measure.network import read_network
from tinyml.measure.parameters import count_parameters


@final
@dataclass(frozen=True, kw_only=True)
class LayerFacts:
    """The weights of one layer in numbers.

    Attributes:
        name: the layer's, or the tensor's.
        kind: its operator, its module's class, or "tensor".
        shape: of the weights.
        weights: how many.
        zeros: how many are exactly zero.
        distinct: number of different values, before the scales of a quantized layer.
        lowest, highest, mean, deviation: of the finite values; 0 where there are none.
        not_finite: how many are NaN or infinite.
        stored: how they are stored: "float32", "int8", "4-bit codebook".
        size_bytes: of all that they are computed from.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    weights: int
    zeros: int
    distinct: int
    lowest: float
    highest: float
    mean: float
    deviation: float
    not_finite: int
    stored: str
    size_bytes: int

    @property
    def zero_share(self) -> float:
        """Share (0-1) of the weights that is zero."""
        return self.zeros / max(self.weights, 1)


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Inspection:
    """The weights of one network.

    Attributes:
        subject: what was looked at.
        weights: by the name of the layer, in the network's order.
        layers: the same in numbers.
        others: number of parameters beside them: biases, scales and shifts of normalizations.
    """

    subject: str
    weights: Mapping[str, LayerWeights]
    others: int

    @cached_property
    def layers(self) -> tuple[LayerFacts, ...]:
        """The layers in numbers, in the network's order."""
        return tuple(_facts(layer) for layer in self.weights.values())

    def layer(self, name: str) -> LayerFacts | None:
        """Return the numbers of one layer; None where there is none of that name."""
        return next((layer for layer in self.layers if layer.name == name), None)


def inspect_onnx(path: Path, input_shape: tuple[int, ...] = ()) -> Inspection:
    """Return the weights of an ONNX file, as its runtime will see them.

    Raises:
        CheckpointError: The file is missing or is no ONNX model, or holds no weights.
    """
    weights = weights_of(path, input_shape)
    total = sum(count for count, _ in count_parameters(read_network(path, input_shape)).values())
    return _inspection(str(path), weights, others=total - sum(layer.values.size for layer in weights.values()))


def inspect_module(module: nn.Module, subject: str) -> Inspection:
    """Return the weights of a torch model as it uses them: with its masks, codebooks and quantizers.

    Raises:
        CheckpointError: It has none.
    """
    found = {f"{place}.{name}".lstrip("."): (kind, tensor) for place, kind, name, tensor in _parameters(module)}
    return _of_tensors(subject, found)


def inspect_tensors(tensors: Mapping[str, Tensor], subject: str) -> Inspection:
    """Return the tensors of a checkpoint whose model is not known, those of two dimensions and more one by one.

    Raises:
        CheckpointError: There are none.
    """
    return _of_tensors(subject, {name: ("tensor", tensor) for name, tensor in tensors.items()})


def _parameters(module: nn.Module) -> Iterator[tuple[str, str, str, Tensor]]:
    """Yield (module's name, its class, parameter's name, value), each parameter once."""
    seen: set[int] = set()
    for place, part in module.named_modules():
        if isinstance(part, parametrize.ParametrizationList) or ".parametrizations." in f".{place}.":
            continue  # what these hold is seen through the layer that they stand on
        computed = list(part.parametrizations) if parametrize.is_parametrized(part) else []
        kind = type(part).__mro__[1 if computed else 0].__name__
        for name in (*(name for name, _ in part.named_parameters(recurse=False)), *computed):
            tensor = getattr(part, name)
            if id(tensor) not in seen:
                seen.add(id(tensor))
                yield place, kind, name, tensor


def _of_tensors(subject: str, tensors: Mapping[str, tuple[str, Tensor]]) -> Inspection:
    weights, others = {}, 0
    for name, (kind, tensor) in tensors.items():
        if tensor.ndim < 2 or not tensor.is_floating_point():
            others += tensor.numel() if tensor.is_floating_point() else 0
            continue
        values = tensor.detach().to("cpu", torch.float32).numpy()
        layer = name.removesuffix(".weight")
        stored = str(tensor.dtype).removeprefix("torch.")
        weights[layer] = LayerWeights(
            name=layer,
            operator=kind,
            values=values,
            stored=values.astype(stored) if stored in ("float16", "float64") else values,
            size_bytes=tensor.numel() * tensor.element_size(),
        )
    return _inspection(subject, weights, others=others)


def _inspection(subject: str, weights: Mapping[str, LayerWeights], *, others: int) -> Inspection:
    if not weights:
        raise CheckpointError(f"'{subject}' holds no weights to show: no tensor of numbers with two dimensions or more")
    return Inspection(subject=subject, weights=weights, others=others)


def _facts(layer: LayerWeights) -> LayerFacts:
    values = layer.values.astype(np.float64).ravel()
    finite = values[np.isfinite(values)]
    numbers = finite if finite.size else np.zeros(1)
    return LayerFacts(
        name=layer.name,
        kind=layer.operator,
        shape=layer.values.shape,
        weights=values.size,
        zeros=int(np.count_nonzero(values == 0)),
        distinct=min(int(np.unique(side).size) for side in (layer.stored, layer.values)),
        lowest=float(numbers.min()),
        highest=float(numbers.max()),
        mean=float(numbers.mean()),
        deviation=float(numbers.std()),
        not_finite=values.size - finite.size,
        stored=layer.form,
        size_bytes=layer.size_bytes,
    )
