import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from tinyml.errors import UsageError
from tinyml.layers.quantizers import attach_weight_quantizer
from tinyml.numerics.affine import signed_grid
from tinyml.training import TrainingSettings
from tinyml.training.optimizer import is_decayed, make_optimizer


class _Scaled(nn.Module):
    """A parametrization with a learned scale for each output channel, in two dimensions."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(2, 1))

    def forward(self, weight: Tensor) -> Tensor:
        return weight * self.scale


def test_weights_are_decayed_and_biases_norms_and_scales_are_not() -> None:
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Linear(2, 2))
    parametrize.register_parametrization(module[2], "weight", _Scaled())
    decayed = {name for name, parameter in module.named_parameters() if is_decayed(name, parameter)}
    assert decayed == {"0.weight", "2.parametrizations.weight.original"}


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_the_optimizer_has_a_group_with_decay_and_one_without(name: str) -> None:
    settings = TrainingSettings(optimizer=name, weight_decay=0.1)  # type: ignore[arg-type]  # one of the Literal
    groups = make_optimizer(nn.Linear(3, 2), settings).param_groups
    assert [(group["weight_decay"], [tuple(p.shape) for p in group["params"]]) for group in groups] == [
        (0.1, [(2, 3)]),
        (0.0, [(2,)]),
    ]


def test_adamw_moves_the_scale_of_a_quantizer_by_a_share_of_it() -> None:
    layer = nn.Linear(3, 2)
    scale = attach_weight_quantizer(layer, signed_grid(8, symmetric=True)).get_parameter("scale")
    nn.init.constant_(scale, 0.25)
    optimizer = make_optimizer(layer, TrainingSettings(optimizer="adamw", learning_rate=0.01))
    scale.grad = torch.tensor([1e-5, 1e5])
    optimizer.step()
    assert scale.tolist() == pytest.approx([0.25 * 0.99] * 2, rel=1e-4)  # Adam's epsilon of 1e-8 beside 1e-5
    assert [len(group["params"]) for group in optimizer.param_groups] == [1, 1, 1]


def test_one_step_of_sgd_is_the_closed_form() -> None:
    module = nn.Linear(1, 1, bias=False)
    nn.init.constant_(module.weight, 2.0)
    optimizer = make_optimizer(module, TrainingSettings(learning_rate=0.1, weight_decay=0.5))
    module.weight.grad = torch.ones(1, 1)
    optimizer.step()
    # gradient with decay g = 1 + 0.5 x 2 = 2; Nesterov's first step is (1 + 0.9) g = 3.8
    assert module.weight.item() == pytest.approx(2.0 - 0.1 * 3.8)


def test_a_frozen_module_is_refused() -> None:
    with pytest.raises(UsageError, match="no parameter of the model requires a gradient"):
        make_optimizer(nn.Linear(1, 1).requires_grad_(False), TrainingSettings())
