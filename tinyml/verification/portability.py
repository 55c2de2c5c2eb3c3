"""Is the int8 arithmetic of a file right on every CPU? A static bound that needs no other CPU.

x86 without VNNI adds pairs of 8-bit products in 16 bits (numerics/saturation.py). The file is safe everywhere when no
two weight codes of an output channel have |w_i| + |w_j| > 128. A trial on one machine can refute this, never prove it.
"""

from dataclasses import dataclass
from typing import Final

import onnx
import torch

from tinyml.export.rewrites.index import GraphIndex
from tinyml.graph.onnx_constants import Constants
from tinyml.graph.onnx_graphs import graphs
from tinyml.numerics.saturation import SAFE_PAIR_SUM, largest_pair_sum
from tinyml.verification.check import Check
from tinyml.verification.quantized_layers import quantized_layers

_SATURATES: Final = "on x86 without VNNI pairs of products can saturate 16 bits"
_CURE: Final = "for every CPU compress with --target x86-avx2 and weight_range: target"


@dataclass(frozen=True, kw_only=True)
class PairSum:
    """The largest |w_i| + |w_j| within an output channel of one integer layer's weight."""

    weight: str
    largest: int


def pair_sums(graph: onnx.GraphProto) -> list[PairSum]:
    """Return the bound's left side for every Conv, Gemm and MatMul with int8 weights and 8-bit activations.

    Layers inside the branches of an If count as those outside.
    """
    found = []
    for inner in graphs(graph):
        index = GraphIndex(inner)
        for layer in quantized_layers(inner, index, Constants(index.constants, index.producers)):
            if layer.codes.dtype is torch.int8:
                largest = int(largest_pair_sum(layer.codes).max())
                found.append(PairSum(weight=layer.weight.input[0], largest=largest))
    return found


def is_quantized(graph: onnx.GraphProto) -> bool:
    """Return whether any layer of the graph has int8 weights."""
    return bool(pair_sums(graph))


def portability_check(graph: onnx.GraphProto, *, demanded: bool) -> Check:
    """Return the check; where the target demands it, a file beyond the bound fails."""
    worst = max(pair_sums(graph), key=lambda pair: pair.largest)
    safe = worst.largest <= SAFE_PAIR_SUM
    where = "" if safe else f" ({worst.weight})"
    if safe:
        explanation = "Static bound: no pair of products saturates 16 bits on x86 without VNNI."
    elif demanded:
        explanation = f"Refused as portable: {_SATURATES}. It is meant for CPUs with VNNI or ARM; {_CURE}."
    else:
        explanation = (
            f"Not portable: refused as portable to every CPU, because {_SATURATES}. Right on CPUs with VNNI and on "
            f"ARM; {_CURE}."
        )
    return Check(
        name="int8 is right on every CPU",
        value=f"|w_i| + |w_j| up to {worst.largest}{where}",
        bound=f"<= {SAFE_PAIR_SUM}",
        outcome="passed" if safe else "failed" if demanded else "noted",
        explanation=explanation,
    )
