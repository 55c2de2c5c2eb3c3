"""Which parameters of a network have several names: tied weights, and layers that stand in several places."""

from torch import nn


def parameter_names(module: nn.Module, *, every_place: bool) -> dict[nn.Parameter, list[str]]:
    """Return the names of every parameter, in the order of the modules; more than one where layers share it.

    Args:
        module: any network.
        every_place: whether a layer that stands in several places of the network has a name for each of them.
    """
    names: dict[nn.Parameter, list[str]] = {}
    for path, layer in module.named_modules(remove_duplicate=not every_place):
        for attribute, parameter in layer.named_parameters(recurse=False, remove_duplicate=False):
            names.setdefault(parameter, []).append(f"{path}.{attribute}".lstrip("."))
    return names


def shared_parameters(module: nn.Module) -> frozenset[str]:
    """Return all names of the parameters that several layers share."""
    names = parameter_names(module, every_place=False)
    return frozenset(name for places in names.values() if len(places) > 1 for name in places)
