"""The optimizers of a training and which parameters they decay."""

from collections.abc import Callable

from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from tinyml.errors import UsageError
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

    It has two groups: the parameters that are decayed and those that are not.

    Raises:
        UsageError: No parameter requires a gradient.
    """
    trained = [(name, parameter) for name, parameter in module.named_parameters() if parameter.requires_grad]
    if not trained:
        raise UsageError("nothing can be trained: no parameter of the model requires a gradient")
    decayed = [parameter for name, parameter in trained if is_decayed(name, parameter)]
    spared = [parameter for name, parameter in trained if not is_decayed(name, parameter)]
    groups = [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": spared, "weight_decay": 0.0}]
    if settings.optimizer == "adamw":
        return AdamW(groups, lr=settings.learning_rate)
    return SGD(groups, lr=settings.learning_rate, momentum=MOMENTUM, nesterov=True)
