import pytest
import torch
from torch import nn
from torch.nn import functional

from tinyml.measure.macs_torch import macs_of_module
from tinyml.models import create_model

LABS = {
    "vgg-cifar": (10, 605_754_368, 606_164_480),
    "resnet18-cifar": (6, 555_420_672, 556_035_584),
}


@pytest.mark.parametrize("name", sorted(LABS))
def test_the_published_figures_under_both_rules(name):
    classes, ours, labs = LABS[name]
    module = create_model(name, {"classes": classes})
    assert macs_of_module(module, (3, 32, 32)).value == ours
    assert macs_of_module(module, (3, 32, 32), "labs").value == labs


class Functional(nn.Module):
    """Means and poolings as methods and functions, and a convolution that is called twice."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 1, bias=False)
        self.normal = nn.BatchNorm2d(2)

    def forward(self, x):
        x = self.normal(self.conv(self.conv(x)))
        x = functional.max_pool2d(x, 2)
        return functional.avg_pool2d(x, 2).mean((2, 3))


def test_functions_and_repeated_modules_are_counted():
    measured = macs_of_module(Functional(), (2, 8, 8), "labs")
    twice, batch_norm, pooling, mean = 2 * 2 * 2 * 64, 2 * 64, 2 * 2 * 2, 2
    assert measured.value == twice + batch_norm + pooling + mean
    assert measured.details["conv-linear"] == twice


def test_the_module_keeps_its_mode_and_its_statistics():
    module = Functional().train()
    module.normal.eval()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    macs_of_module(module, (2, 8, 8), "labs")
    assert (module.training, module.normal.training) == (True, False)
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())
