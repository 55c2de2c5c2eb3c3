"""LeNets with random weights on the digits' shape, and what a fine_tuning makes of them."""

from dataclasses import replace

import torch
from random_task import random_context, uncompressed
from torch import Tensor, nn

from tinyml.models import create_model
from tinyml.passes import Compressed, Context
from tinyml.passes.fine_tuning import FineTuning

DIGITS = (1, 8, 8)


def lenet(seed: int = 0, **arguments: int) -> nn.Module:
    torch.manual_seed(seed)
    return create_model("lenet-digits", dict(arguments)).eval()


def student(seed: int = 0) -> Compressed:
    return uncompressed(lenet(seed), DIGITS, factory="lenet-digits")


def noise(**changed: object) -> Context:
    """The context of a pass on 64 random images, with a teacher of its own."""
    context = random_context(DIGITS)
    return replace(context, **{"teacher": lenet(1), **changed})  # type: ignore[arg-type]  # fields of Context


def tuned(settings: FineTuning, before: Compressed, context: Context) -> Compressed:
    settings.requires(before, context)
    after = settings.apply(before, context)
    settings.ensures(before, after)
    return after


def state(model: Compressed) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.module.state_dict().items()}


def differing(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    assert before.keys() == after.keys()
    return {name for name in before if not torch.equal(before[name], after[name])}
