"""The passes a recipe is made of: one file each, one line in the table each."""

from tinyml.passes.base import Compressed, Context, Pass
from tinyml.passes.channel_pruning import ChannelPruning
from tinyml.passes.early_exit import EarlyExit
from tinyml.passes.fine_tuning import FineTuning
from tinyml.passes.half_precision import HalfPrecisionPass
from tinyml.passes.kmeans_quantization import KmeansQuantization
from tinyml.passes.linear_quantization import LinearQuantization
from tinyml.passes.weight_pruning import WeightPruning

PASSES: dict[str, type[Pass]] = {
    "channel_pruning": ChannelPruning,
    "weight_pruning": WeightPruning,
    "early_exit": EarlyExit,
    "fine_tuning": FineTuning,
    "kmeans_quantization": KmeansQuantization,
    "linear_quantization": LinearQuantization,
    "half_precision": HalfPrecisionPass,
}

__all__ = ["PASSES", "Compressed", "Context", "Pass"]
