"""What a pass attaches to a weight: a parametrization that training carries along, with schedule and promise."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize


class Attachment(nn.Module, ABC):
    """A parametrization of one weight. Its buffers and parameters are saved and trained with the network.

    Attributes:
        commutes_with_scaling: whether a factor for each output channel may stand before it as well as behind it
            (tinyml/graph/fold.py asks).
    """

    commutes_with_scaling: ClassVar[bool] = False

    def after_step(self, original: Tensor, share: float) -> None:
        """Follow the schedule of the pass.

        Args:
            original: the trained weight, before any parametrization.
            share: how much of the training is done after this step: above 0, at most 1.
        """

    @abstractmethod
    def fault(self, weight: Tensor) -> str:
        """Return what the effective weight lacks of what the pass promised, or "" where the promise holds."""


def is_computed(layer: nn.Module) -> bool:
    """Return whether something that no pass attached computes the weight: weight norm, spectral norm, a user's own."""
    if not parametrize.is_parametrized(layer, "weight"):
        return "weight" not in dict(layer.named_parameters(recurse=False))
    chain = layer.get_submodule("parametrizations.weight")
    return not all(isinstance(each, Attachment) for each in chain.children())


@dataclass(frozen=True, kw_only=True)
class Attached:
    """An attachment, and the parameter ("conv1.weight") of the module that it stands on."""

    parameter: str
    layer: nn.Module
    attachment: Attachment

    @property
    def original(self) -> Tensor:
        """The weight that is trained, before any parametrization."""
        parametrizations = self.layer.parametrizations
        assert isinstance(parametrizations, nn.ModuleDict)
        original = parametrizations[self.parameter.rpartition(".")[2]].original
        assert isinstance(original, Tensor)
        return original

    @property
    def weight(self) -> Tensor:
        """The weight as the network uses it."""
        effective = getattr(self.layer, self.parameter.rpartition(".")[2])
        assert isinstance(effective, Tensor)
        return effective


def attached(module: nn.Module) -> Iterator[Attached]:
    """Yield every attachment of a network, in the order of its modules; a shared module comes once."""
    for name, layer in module.named_modules():
        if not parametrize.is_parametrized(layer):
            continue
        parametrizations = layer.parametrizations
        assert isinstance(parametrizations, nn.ModuleDict)
        for parameter, chain in parametrizations.items():
            assert isinstance(chain, nn.ModuleList)
            for attachment in chain:
                if isinstance(attachment, Attachment):
                    yield Attached(parameter=f"{name}.{parameter}".lstrip("."), layer=layer, attachment=attachment)


def advance(module: nn.Module, share: float) -> None:
    """Let every attachment follow its schedule after a step, but on frozen layers; see `Attachment.after_step`."""
    with torch.no_grad():
        for each in attached(module):
            if any(parameter.requires_grad for parameter in each.layer.parameters()):
                each.attachment.after_step(each.original, share)


def attachment_faults(module: nn.Module) -> list[str]:
    """Return one line for every attachment whose promise does not hold, with the name of its parameter."""
    with torch.no_grad():
        said = [(each.parameter, each.attachment.fault(each.weight)) for each in attached(module)]
    return [f"{parameter}: {fault}" for parameter, fault in said if fault]
