import copy

import pytest
import torch
from torch import Tensor, nn

from tinyml.layers.quantizers import attach_standalone, attach_weight_quantizer, weight_quantizers
from tinyml.numerics.affine import signed_grid, unsigned_grid
from tinyml.passes.calibration import calibrate
from tinyml.passes.post_training.bias_correction import correct_biases
from tinyml.progress import Silent


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, groups=4, bias=False),
        nn.ReLU(),
        nn.Conv2d(8, 4, 3),
        nn.Flatten(),
        nn.Linear(16, 5),
    ).eval()


def images(count: int = 100) -> Tensor:
    return torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def quantized(model: nn.Module, bits: int = 3) -> nn.Module:
    """A copy whose layers are quantized one by one."""
    model = copy.deepcopy(model)
    for layer in [each for each in model.modules() if isinstance(each, nn.Conv2d | nn.Linear)]:
        attach_standalone(layer, unsigned_grid(8))
        attach_weight_quantizer(layer, signed_grid(bits, symmetric=True))
    for quantizer, weight in weight_quantizers(model).values():
        quantizer.fit(weight)
    calibrate(model, images(), method="minmax", symmetric=False, seed=0, progress=Silent())
    return model


def mean_difference(model: nn.Module, reference: nn.Module, name: str) -> Tensor:
    """Mean over images and positions of what each channel of a layer gives more in the model than in the reference."""
    means = []
    for each in (model, reference):
        found: list[Tensor] = []
        hook = each.get_submodule(name).register_forward_hook(lambda *seen: found.append(seen[-1]), prepend=True)  # noqa: B023
        with torch.no_grad():
            each(images())
        hook.remove()
        means.append(found[0].transpose(0, 1).flatten(1).mean(dim=1))
    return means[0] - means[1]


@pytest.mark.parametrize("name", ["0", "4", "6"])
def test_no_channel_is_shifted_on_average(name: str) -> None:
    """Sums of thousands of numbers near 1 in float32: the means agree to 1e-5; before, they differ by 0.002 and more."""
    reference = network()
    model = quantized(reference)
    before = mean_difference(model, reference, name).abs().max()
    correct_biases(model, reference, images(), progress=Silent())
    assert before > 0.002
    assert mean_difference(model, reference, name).abs().max() < 1e-5


def test_a_layer_without_a_bias_is_said_and_stays_without() -> None:
    model = quantized(network())
    done, left = correct_biases(model, network(), images(), progress=Silent())
    assert (list(done), left) == (["0", "4", "6"], {"2": "it has no bias"})
    assert model.get_submodule("2").bias is None


def test_the_corrections_are_what_the_biases_moved_by() -> None:
    model = quantized(network())
    before = model.get_parameter("6.bias").detach().clone()
    done, _ = correct_biases(model, network(), images(), progress=Silent())
    moved = (model.get_parameter("6.bias") - before).detach().abs().max()
    assert done["6"] == pytest.approx(float(moved), rel=1e-4)


def test_one_pixel_and_one_weight_by_hand() -> None:
    """The weight 0.7 becomes 1 on a grid of whole numbers, so that 2 x 0.7 + 0.5 = 1.9 needs the bias -0.1."""
    reference = nn.Sequential(nn.Linear(1, 1))
    reference[0].weight.data, reference[0].bias.data = torch.tensor([[0.7]]), torch.tensor([0.5])
    model = copy.deepcopy(reference)
    attach_weight_quantizer(model[0], signed_grid(3, symmetric=True))  # its scale is 1
    correct_biases(model, reference, torch.full((3, 1), 2.0), progress=Silent())
    assert model.get_parameter("0.bias").item() == pytest.approx(-0.1)


def test_a_layer_that_no_image_of_the_first_batch_reaches_is_said() -> None:
    class Idle(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.idle = nn.Linear(2, 2), nn.Linear(2, 2)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.used(x)
            return y

    model = Idle()
    for layer in (model.used, model.idle):
        attach_weight_quantizer(layer, signed_grid(8, symmetric=True))
    assert correct_biases(model, Idle(), torch.ones(2, 2), progress=Silent())[1] == {
        "idle": "no image of the first batch reaches it"
    }


def test_layers_that_share_a_bias_are_said() -> None:
    reference = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.Linear(4, 4))
    reference[2].bias = reference[0].bias
    model = copy.deepcopy(reference)
    for layer in (model[0], model[2], model[3]):
        attach_weight_quantizer(layer, signed_grid(8, symmetric=True))
    done, left = correct_biases(model, reference, torch.ones(4, 4), progress=Silent())
    assert (list(done), list(left)) == (["3"], ["0", "2"])
