"""Half precision: weights and arithmetic in float16, inputs and outputs in float32, which is what a GPU wants."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from tinyml.architecture import CaptureGraph, Edit, FoldBatchNorm, HalfPrecision
from tinyml.errors import RecipeError, TinymlError
from tinyml.graph.capture import LeftAlone, capture, propagate_shapes
from tinyml.graph.fold import foldable_pairs
from tinyml.passes.base import Compressed, Context, Pass, Role

ON_CPU = LeftAlone(
    module="",
    reason="onnxruntime's CPU provider computes most float16 operators in float32: the file is smaller, not faster; "
    "half precision pays on a GPU",
)
LARGEST_HALF = float(torch.finfo(torch.float16).max)


@dataclass(frozen=True, kw_only=True)
class HalfPrecisionPass(Pass):
    """Fold batch norms, then cast every floating parameter to float16. It has no settings."""

    role: ClassVar[Role] = "cast"

    def requires(self, model: Compressed, context: Context) -> None:
        """Refuse weights that float16 cannot hold."""
        for name, tensor in model.module.state_dict().items():
            if tensor.is_floating_point() and tensor.numel() and float(tensor.abs().max()) > LARGEST_HALF:
                raise RecipeError(
                    f"half_precision: {name} holds {float(tensor.abs().max()):.4g}, beyond float16's largest value "
                    f"{LARGEST_HALF:.0f}; leave half_precision out of the recipe"
                )

    def apply(self, model: Compressed, context: Context) -> Compressed:
        """Return the model in float16."""
        model = model.copy()
        captured = capture(model.module)
        edits: list[Edit] = [CaptureGraph()]
        module: nn.Module = captured.module
        if captured.graph_module is not None:
            propagate_shapes(captured.graph_module, torch.zeros(1, *model.architecture.input_shape))
            folding = FoldBatchNorm(pairs=tuple(foldable_pairs(captured.graph_module)))
            folding.apply(captured.graph_module)
            edits.append(folding)
        cast = HalfPrecision()
        on_cpu = context.target.provider == "CPUExecutionProvider"
        return model.edited(cast.apply(module), [*edits, cast], [ON_CPU] if on_cpu else [])

    def ensures(self, before: Compressed, after: Compressed) -> None:
        """Check that no float32 parameter is left and that nothing overflowed."""
        for name, parameter in after.module.named_parameters():
            if parameter.dtype is not torch.float16 or not bool(torch.isfinite(parameter).all()):
                raise TinymlError(f"half_precision left {name} as {parameter.dtype} or not finite")
