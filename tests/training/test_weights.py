import torch
from torch import nn

from tinyml.training.weights import AveragedWeights, copy_into, copy_out, digest


def _linear(value: float) -> nn.Linear:
    module = nn.Linear(1, 1, bias=False)
    nn.init.constant_(module.weight, value)
    return module


def test_copies_share_no_memory_with_the_module() -> None:
    module = _linear(1.0)
    copies = copy_out(module)
    nn.init.constant_(module.weight, 5.0)
    assert copies["weight"].item() == 1.0


def test_copying_back_keeps_the_memory_layout() -> None:
    module = nn.Conv2d(3, 4, 3)
    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's types lack this form
    copy_into(module, copy_out(module))
    assert module.weight.is_contiguous(memory_format=torch.channels_last)


def test_the_digest_tells_one_flipped_sign() -> None:
    assert digest(_linear(1.0)) == digest(_linear(1.0)) != digest(_linear(-1.0))


def test_the_average_moves_by_the_share_that_decay_leaves() -> None:
    module = _linear(0.0)
    average = AveragedWeights(module, decay=0.75)
    nn.init.constant_(module.weight, 1.0)
    average.update(module, step=1000)
    average.update(module, step=1001)
    assert average.tensors["weight"].item() == 1 - 0.75**2


def test_the_first_averages_forget_the_untrained_weights_sooner() -> None:
    module = _linear(0.0)
    average = AveragedWeights(module, decay=0.99)
    nn.init.constant_(module.weight, 1.0)
    average.update(module, step=2)
    assert average.tensors["weight"].item() == 1 - 3 / 12


def test_the_averages_are_shown_only_inside_the_context() -> None:
    module = _linear(1.0)
    average = AveragedWeights(module, decay=0.5)
    nn.init.constant_(module.weight, 3.0)
    with average.shown(module):
        inside = module.weight.item()
    assert (inside, module.weight.item()) == (1.0, 3.0)
