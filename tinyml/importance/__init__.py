"""The criteria by which channels are kept: one file each, one line in the table each."""

from typing import Literal

from tinyml.importance.activation import Activation
from tinyml.importance.base import Criterion, Evidence, Need
from tinyml.importance.batchnorm_scale import BatchNormScale
from tinyml.importance.evidence import gather
from tinyml.importance.geometric_median import GeometricMedian
from tinyml.importance.hessian import Hessian
from tinyml.importance.lamp import Lamp
from tinyml.importance.magnitude import Magnitude
from tinyml.importance.next_layer import NextLayer
from tinyml.importance.random_order import RandomOrder
from tinyml.importance.taylor import Taylor

Importance = Literal[
    "l1", "l2", "next_layer", "batchnorm_scale", "fpgm", "lamp", "taylor", "hessian", "activation", "random"
]

IMPORTANCES: dict[Importance, Criterion] = {
    "l1": Magnitude(1),
    "l2": Magnitude(2),
    "next_layer": NextLayer(),
    "batchnorm_scale": BatchNormScale(),
    "fpgm": GeometricMedian(),
    "lamp": Lamp(),
    "taylor": Taylor(),
    "hessian": Hessian(),
    "activation": Activation(),
    "random": RandomOrder(),
}

__all__ = ["IMPORTANCES", "Criterion", "Evidence", "Importance", "Need", "gather"]
