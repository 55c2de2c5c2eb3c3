"""The optimizers of a training and which parameters they decay."""

from collections.abc import Callable
from typing import Any

from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from tinyml.errors import UsageError
from tinyml.layers.quantizers import ActivationQuantizer, WeightQuantizer
from tinyml.training.settings import TrainingSettings

OptimizerFactory = Callable[[nn.Module, TrainingSettings], Optimizer]
"""Makes the optimizer of a training; the `lr` it sets in each group is the highest that this group reaches."""

MOMENTUM = 0.9


def is_decayed(name: str, parameter: nn.Parameter) -> bool:
    """Return whether weight decay applies to a parameter.

    It does to weights, which have two or more dimensions. It does not to biases and normalisation, which have one, nor
    to what a parametrization adds beside the weight (scales, codebooks): decay would pull those off what they encode.
    """
    path = name.split(".")
    added_by_parametrization = "parametrizations" in path and not path[-1].startswith("original")
    return parameter.ndim >= 2 and not added_by_parametrization


def make_optimizer(module: nn.Module, settings: TrainingSettings) -> Optimizer:
    """Return the optimizer of the settings over all parameters of the module that require a gradient.

    It has two groups: the parameters that are decayed and those that are not. A step of AdamW is as large as its rate,
    whatever the gradient: there each learned scale of a quantizer has a group of its own, whose rate is relative to it.

    Raises:
        UsageError: No parameter requires a gradient.
    """
    trained = [(name, parameter) for name, parameter in module.named_parameters() if parameter.requires_grad]
    if not trained:
        raise UsageError("nothing can be trained: no parameter of the model requires a gradient")
    decayed = [parameter for name, parameter in trained if is_decayed(name, parameter)]
    spared = [parameter for name, parameter in trained if not is_decayed(name, parameter)]
    groups: list[dict[str, Any]] = [
        {"params": decayed, "weight_decay": settings.weight_decay},
        {"params": spared, "weight_decay": 0.0},
    ]
    if settings.optimizer == "adamw":
        scales = _scales(module)
        groups[1]["params"] = [parameter for parameter in spared if all(parameter is not scale for scale in scales)]
        rates = [settings.learning_rate * scale.detach().abs().mean().item() for scale in scales]
        groups += [{"params": [s], "weight_decay": 0.0, "lr": r} for s, r in zip(scales, rates, strict=True)]
        return AdamW(groups, lr=settings.learning_rate)
    return SGD(groups, lr=settings.learning_rate, momentum=MOMENTUM, nesterov=True)


def _scales(module: nn.Module) -> list[nn.Parameter]:
    """Return the learned scales of a network's quantizers that require a gradient."""
    quantizers = (part for part in module.modules() if isinstance(part, ActivationQuantizer | WeightQuantizer))
    return [scale for part in quantizers for scale in part.parameters(recurse=False) if scale.requires_grad]
