"""Collect evidence for all groups at once: run images of the training data through the network, changing nothing in it.

Gradients are taken image by image, because criteria need the mean of squares over images: the square of a batch's
mean gradient is smaller, by about the size of the batch. Memory beside the network: one gradient and one mean square
of the weights that read channels, and numbers per channel. Same network, data, seed, threads and machine give the
same evidence.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from tinyml.data import Split, Task
from tinyml.errors import DataError
from tinyml.graph.channel_groups import ChannelGroup
from tinyml.graph.first_input import first_input
from tinyml.graph.layer_types import Convolution
from tinyml.importance.base import Evidence, Need
from tinyml.importance.image_gradients import differentiable, image_gradients
from tinyml.importance.slices import channel_sums, consumers, position_sums
from tinyml.progress import Progress, Silent
from tinyml.training.determinism import deterministic
from tinyml.training.evaluation import device_of, evaluation_mode, placed

BATCH = 64  # images at once where no gradients are taken


def gather(
    module: nn.Module,
    groups: Sequence[ChannelGroup],
    *,
    needs: Need,
    task: Task | None = None,
    images: int = 0,
    seed: int = 0,
    progress: Progress | None = None,
) -> Evidence:
    """Return what a criterion with these needs looks at, for all groups.

    Args:
        module: the network; modes, gradients, hooks and `requires_grad` are as before afterwards.
        groups: of the network, with different names.
        needs: 'nothing' looks at the weights alone: no data are used.
        task: where images and loss come from: its train split, or validation where there is no train.
        images: how many are drawn, without replacement; fewer where the split is smaller.
        seed: of the drawing, and of what criteria draw.
        progress: told of every batch.

    Raises:
        DataError: Images are needed, and there is no task, no train or validation data, or images is below 1.
        NonFiniteError: The loss of an image is NaN or infinite.
    """
    weights = {name: parameter.detach() for name, parameter in module.named_parameters(remove_duplicate=False)}
    blank = Evidence(seed=seed, weights=weights)
    if needs == "nothing":
        return blank
    if task is None:
        raise DataError(f"an importance that looks at {needs} needs images, and there are no data; give them (--data)")
    examples = task.calibration_examples(images, seed)
    track = progress or Silent()
    with deterministic(device_of(module)), evaluation_mode(module):
        torch.manual_seed(seed)
        if needs == "activations":
            seen = _activations(module, _readers(groups, blank), task, examples, track)
            return Evidence(seed=seed, weights=weights, activations=seen)
        effects, squares = _gradients(module, groups, blank, task, examples, track)
    return Evidence(seed=seed, weights=weights, squared_effects=effects, squared_gradients=squares)


def _readers(groups: Sequence[ChannelGroup], evidence: Evidence) -> dict[str, int]:
    """Return the dimension of the channels by the name of every weight that reads some, in the order of the groups."""
    return {part.parameter: part.dimension for group in groups for part in consumers(group, evidence)}


def _gradients(
    module: nn.Module, groups: Sequence[ChannelGroup], evidence: Evidence, task: Task, examples: Split, track: Progress
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the means over images: squared effects by group, squared gradients by reading weight; see Evidence."""
    readers = _readers(groups, evidence)
    everything = dict(module.named_parameters(remove_duplicate=False))
    parameters = {name: everything[name] for name in readers}
    parts = {group.name: found for group in groups if (found := consumers(group, evidence))}
    effects = {name: torch.zeros(len(found[0].index), dtype=torch.float64) for name, found in parts.items()}
    squares = {name: torch.zeros_like(evidence.weights[name]) for name in readers}
    share = 1 / len(examples)
    images = track.track(task.batches(examples, 1), label="importance: gradients", total=len(examples))
    with differentiable(parameters.values()):
        for x, y in images if parameters else ():
            gradients = image_gradients(module, parameters, task, x, y)
            products = {name: evidence.weights[name] * gradients[name] for name in readers}
            sums = {name: position_sums(products[name], readers[name]).cpu() for name in readers}
            for name, found in parts.items():
                effect = torch.stack([channel_sums(sums[part.parameter], part) for part in found]).sum(dim=0)
                effects[name].addcmul_(effect, effect, value=share)
            for name, gradient in gradients.items():
                squares[name].addcmul_(gradient, gradient, value=share)
    return effects, squares


@torch.no_grad()
def _activations(
    module: nn.Module, readers: Mapping[str, int], task: Task, examples: Split, track: Progress
) -> dict[str, Tensor]:
    """Return the mean |x| at each position of the channels' dimension of every reading weight that was called."""
    watched = {name: module.get_submodule(name.rpartition(".")[0]) for name in readers}
    sums: dict[str, Tensor] = {}
    counts: dict[str, int] = dict.fromkeys(readers, 0)

    def watch(name: str) -> Callable[[nn.Module, tuple[object, ...], Mapping[str, object]], None]:
        def add(layer: nn.Module, inputs: tuple[object, ...], named: Mapping[str, object]) -> None:
            read = first_input(inputs, named)
            axis = 1 if isinstance(layer, Convolution) else read.ndim - 1
            found = position_sums(read.abs(), axis)
            sums[name] = sums[name] + found if name in sums else found
            counts[name] += read.numel() // read.shape[axis]

        return add

    hooks = [layer.register_forward_pre_hook(watch(name), with_kwargs=True) for name, layer in watched.items()]
    try:
        total = -(-len(examples) // BATCH)
        for x, _ in track.track(task.batches(examples, BATCH), label="importance: activations", total=total):
            module(placed(torch.from_numpy(x), module))
    finally:
        for hook in hooks:
            hook.remove()
    weights = dict(module.named_parameters(remove_duplicate=False))
    # A grouped convolution's weight has one column for the same place in each of its groups.
    return {
        name: (seen / counts[name]).reshape(-1, weights[name].shape[readers[name]]).mean(dim=0).cpu()
        for name, seen in sums.items()
    }
