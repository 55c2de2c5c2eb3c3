"""Parts of a network that a training leaves as they are."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase

from torch import nn

from tinyml.errors import UsageError
from tinyml.graph.name_patterns import pattern_fault
from tinyml.layers.exit_heads import EXIT_HEADS, head_parameters


@contextmanager
def frozen(module: nn.Module, patterns: Sequence[str]) -> Iterator[None]:
    """Let no parameter of the modules that match a pattern require a gradient while the context is open.

    A pattern ("conv1", "layer[12].*") is compared with the names of the modules. One that matches is frozen with all
    inside it, so with its parametrizations too. A parameter that two modules share is frozen where one of them is.

    Raises:
        UsageError: A pattern matches no module that has parameters, or nothing is left to train.
    """
    chosen = {id(parameter) for pattern in patterns for parameter in _matched(module, pattern)}
    held = [parameter for parameter in module.parameters() if id(parameter) in chosen and parameter.requires_grad]
    if held and len(held) == sum(parameter.requires_grad for parameter in module.parameters()):
        raise UsageError(f"frozen: {', '.join(patterns)} leaves no parameter to train; freeze fewer modules")
    for parameter in held:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in held:
            parameter.requires_grad_(True)


@contextmanager
def heads_alone(module: nn.Module) -> Iterator[None]:
    """Let nothing but the heads of a network's exits require a gradient while the context is open.

    Raises:
        UsageError: The network has no exits.
    """
    heads = {id(parameter) for parameter in head_parameters(module)}
    if not heads:
        raise UsageError("the network has no exits whose heads could be trained alone; attach them first")
    held = [each for each in module.parameters() if each.requires_grad and id(each) not in heads]
    for parameter in held:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in held:
            parameter.requires_grad_(True)


def is_frozen(module: nn.Module) -> bool:
    """Return whether a module has parameters, its own or inside it, of which none requires a gradient."""
    wanted = [parameter.requires_grad for parameter in module.parameters()]
    return bool(wanted) and not any(wanted)


def train_mode(module: nn.Module) -> None:
    """Set training mode, but evaluation mode in parts that are frozen: their statistics and dropout do not move.

    Where nothing but the heads of exits is trained, the whole network in front of them is such a part.
    """
    module.train()
    heads = {id(parameter) for parameter in head_parameters(module)}
    if heads and not any(each.requires_grad for each in module.parameters() if id(each) not in heads):
        module.eval()
        module.get_submodule(EXIT_HEADS).train()
    for part in module.modules():
        if is_frozen(part):
            part.eval()


def _matched(module: nn.Module, pattern: str) -> list[nn.Parameter]:
    weighted = {
        name: part
        for name, part in module.named_modules(remove_duplicate=False)
        if next(part.parameters(), None) is not None
    }
    if fault := pattern_fault(pattern, [name for name in weighted if name], kind="module with parameters"):
        raise UsageError(f"frozen: {fault}")
    return [p for name, part in weighted.items() if fnmatchcase(name, pattern) for p in part.parameters()]
