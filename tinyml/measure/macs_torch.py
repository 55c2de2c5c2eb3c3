"""MACs by the labs' rule, counted on the torch graph before folding: a labelled option, not the product's figure.

    conv and linear                    as our own rule
    BatchNorm                          one for every element of its output
    mean, average pooling              one for every element of its output (max pooling: none)

Counted by watching one forward pass: every operation that reaches torch's dispatcher is seen, whether it comes from a
module, a function or a method. The forward pass runs on the CPU with a batch of 1; the module is left as it was.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, final

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from tinyml.measure.measurement import Measurement

MacsRule = Literal["conv-linear", "labs"]

aten = torch.ops.aten
_ONE_FOR_EACH_OUTPUT: Final[dict[object, str]] = {
    aten.native_batch_norm: "BatchNorm",
    aten._native_batch_norm_legit: "BatchNorm",
    aten._native_batch_norm_legit_no_training: "BatchNorm",
    aten.cudnn_batch_norm: "BatchNorm",
    aten.mean: "mean",
    aten.avg_pool1d: "average pooling",
    aten.avg_pool2d: "average pooling",
    aten.avg_pool3d: "average pooling",
    aten._adaptive_avg_pool2d: "average pooling",
    aten._adaptive_avg_pool3d: "average pooling",
}


def macs_of_module(module: nn.Module, input_shape: tuple[int, ...], rule: MacsRule = "conv-linear") -> Measurement:
    """Return the multiply-adds of a module for one input under a rule, counted on a forward pass in eval mode.

    Args:
        module: the network; its mode is restored.
        input_shape: shape of one input without the batch.
        rule: "conv-linear", that of `tinyml.measure.macs`, or "labs".
    """
    parameter = next(module.parameters(), torch.empty(()))
    x = torch.zeros(1, *input_shape, device=parameter.device, dtype=parameter.dtype)
    watch = _OutputElements()
    flops = FlopCounterMode(display=False)
    modes = {name: part.training for name, part in module.named_modules()}
    module.eval()
    try:
        with torch.no_grad(), flops, watch:
            module(x)
    finally:
        for name, part in module.named_modules():
            part.training = modes[name]
    ours = flops.get_total_flops() // 2
    extra = watch.elements if rule == "labs" else {}
    return Measurement(
        metric="macs",
        value=ours + sum(extra.values()),
        unit="MACs",
        details={"rule": rule, "counted_on": "torch graph", "conv-linear": ours, **extra},
    )


@final
class _OutputElements(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves its hook untyped
    """Adds up the output elements of the operations in `_ONE_FOR_EACH_OUTPUT`, by their spoken name."""

    def __init__(self) -> None:
        """Start with nothing counted."""
        super().__init__()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self.elements: dict[str, int] = {}

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run the operation and count what it returned."""
        result = func(*args, **(kwargs or {}))
        name = _ONE_FOR_EACH_OUTPUT.get(getattr(func, "overloadpacket", func))
        if name:
            output: Tensor = result[0] if isinstance(result, tuple) else result
            self.elements[name] = self.elements.get(name, 0) + output.numel()
        return result
