"""The zoo of models, and the loader of factories that users bring."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import cast

from pydantic import JsonValue
from torch import nn

from tinyml.errors import ModelError, did_you_mean
from tinyml.factory import call_factory, find_factory
from tinyml.models.entry import ModelEntry
from tinyml.models.lenet_digits import lenet_digits
from tinyml.models.mobilenetv2_cifar import mobilenetv2_cifar
from tinyml.models.resnet18_cifar import resnet18_cifar
from tinyml.models.resnet_cifar import (
    resnet20_cifar,
    resnet32_cifar,
    resnet44_cifar,
    resnet56_cifar,
    resnet110_cifar,
)
from tinyml.models.vgg_cifar import vgg_cifar

__all__ = ["MODELS", "ModelEntry", "create_model", "find_model"]

_CIFAR = (3, 32, 32)
_OPTION_A = "CIFAR ResNet with parameter-free shortcuts; loads the published checkpoints"

MODELS: dict[str, ModelEntry] = {
    entry.name: entry
    for entry in (
        ModelEntry(name="resnet20-cifar", factory=resnet20_cifar, input_shape=_CIFAR, summary=_OPTION_A),
        ModelEntry(name="resnet32-cifar", factory=resnet32_cifar, input_shape=_CIFAR, summary=_OPTION_A),
        ModelEntry(name="resnet44-cifar", factory=resnet44_cifar, input_shape=_CIFAR, summary=_OPTION_A),
        ModelEntry(name="resnet56-cifar", factory=resnet56_cifar, input_shape=_CIFAR, summary=_OPTION_A),
        ModelEntry(name="resnet110-cifar", factory=resnet110_cifar, input_shape=_CIFAR, summary=_OPTION_A),
        ModelEntry(
            name="resnet18-cifar",
            factory=resnet18_cifar,
            input_shape=_CIFAR,
            summary="ResNet-18 with a 3x3 stem and convolutions in the shortcuts",
        ),
        ModelEntry(
            name="vgg-cifar",
            factory=vgg_cifar,
            input_shape=_CIFAR,
            summary="VGG of eight convolutions with BatchNorm, as in the pruning and quantization labs",
        ),
        ModelEntry(
            name="mobilenetv2-cifar",
            factory=mobilenetv2_cifar,
            input_shape=_CIFAR,
            summary="MobileNetV2 with strides for 32 x 32 images",
        ),
        ModelEntry(
            name="lenet-digits",
            factory=lenet_digits,
            input_shape=(1, 8, 8),
            summary="LeNet-size network for the shipped digits",
        ),
    )
}


def find_model(name: str) -> ModelEntry:
    """Return the entry of a zoo name, or one made for 'package.module:factory'.

    Raises:
        ModelError: where the name is not in the zoo, or the factory cannot be found.
    """
    if name in MODELS:
        return MODELS[name]
    if ":" in name:
        found = find_factory(name, error=ModelError)
        # What it returns is checked when it is called: a signature cannot promise it.
        factory = cast("type[nn.Module]", found)
        return ModelEntry(name=name, factory=factory, input_shape=None, summary="a factory outside the zoo")
    raise ModelError(
        f"There is no model '{name}'.{did_you_mean(name, MODELS)} "
        f"Allowed: {', '.join(MODELS)}, or 'package.module:factory'."
    )


def create_model(name: str, model_args: Mapping[str, JsonValue] = MappingProxyType({})) -> nn.Module:
    """Return a new module with fresh weights, in evaluation mode.

    Args:
        name: a zoo name or 'package.module:factory'.
        model_args: keyword arguments of the factory, such as {"classes": 6}.

    Raises:
        ModelError: where the model is unknown, the arguments do not fit, the factory raises, or what it returns is
            not a torch.nn.Module.
    """
    module = call_factory(find_model(name).factory, model_args, name=name, error=ModelError)
    if not isinstance(module, nn.Module):
        raise ModelError(f"'{name}' returned a {type(module).__name__}; it must return a torch.nn.Module.")
    return module.eval()
