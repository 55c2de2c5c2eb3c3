"""Does a model that an earlier run quantized suit the target of this one?"""

from torch import nn

from tinyml.errors import TargetError
from tinyml.layers.quantizers import ActivationQuantizer
from tinyml.target import Target


def check_target(module: nn.Module, target: Target) -> None:
    """Refuse a quantized model whose integers are not those of the target; float models suit every target.

    The width of weight codes is not asked here: verification bounds it on the file.

    Raises:
        TargetError: the target has no integer kernels, or other activations; the message says the cure.
    """
    quantizers = [layer for layer in module.modules() if isinstance(layer, ActivationQuantizer)]
    if not quantizers:
        return
    cure = f"start from the float checkpoint with --target {target.name}"
    if target.integer is None:
        raise TargetError(
            f"the model is quantized, and target '{target.name}' has no integer kernels: "
            f"{target.integer_reason}; {cure}"
        )
    wanted = target.integer.activations
    found = sorted({"int8" if quantizer.grid.signed else "uint8" for quantizer in quantizers})
    if found != [wanted]:
        raise TargetError(
            f"the model's activations are {' and '.join(found)}, and target '{target.name}' wants {wanted}; {cure}"
        )
    bits = {(quantizer.grid.q_max - quantizer.grid.q_min).bit_length() for quantizer in quantizers}
    if missing := sorted(bits - {*target.integer.activation_bits}):
        raise TargetError(f"the model's activations have {missing[0]} bits, and target '{target.name}' has not; {cure}")
    if target.integer.activation_symmetric and any(bool(quantizer.zero_point != 0) for quantizer in quantizers):
        raise TargetError(
            f"the model's activations have zero points, and target '{target.name}' wants symmetric ones; {cure}"
        )
