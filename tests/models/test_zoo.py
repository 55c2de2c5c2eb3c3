import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from tinyml.errors import ModelError
from tinyml.models import MODELS, create_model, find_model


def counted_macs(model: nn.Module, input_shape: tuple[int, ...]) -> int:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, *input_shape))
    return counter.get_total_flops() // 2


@pytest.mark.parametrize("name", MODELS)
def test_every_model_maps_a_batch_of_two_to_two_rows_of_logits(name: str):
    entry = MODELS[name]
    model = create_model(name, {"classes": 7})
    with torch.no_grad():
        assert model(torch.zeros(2, *entry.input_shape)).shape == (2, 7)


@pytest.mark.parametrize("name", MODELS)
def test_every_model_comes_in_evaluation_mode_with_finite_outputs(name: str):
    model = create_model(name)
    with torch.no_grad():
        outputs = model(torch.randn(2, *MODELS[name].input_shape, generator=torch.Generator().manual_seed(0)))
    assert not model.training
    assert torch.isfinite(outputs).all()


@pytest.mark.parametrize(
    ("name", "model_args", "macs"),
    [
        pytest.param("resnet20-cifar", {}, 40_551_040, id="resnet20"),
        pytest.param("vgg-cifar", {}, 605_754_368, id="the labs' VGG"),
        pytest.param("resnet18-cifar", {"classes": 6}, 555_420_672, id="the labs' ResNet-18 of six classes"),
        pytest.param("resnet18-cifar", {}, 555_417_600 + 512 * 10, id="ResNet-18 of ten classes"),
        pytest.param(
            "lenet-digits",
            {},
            64 * 9 * (1 * 16 + 16 * 32) + 512 * 64 + 64 * 10,
            id="convolutions and two linear layers",
        ),
    ],
)
def test_macs_equal_the_published_or_hand_counted_figure(name: str, model_args: dict[str, int], macs: int):
    assert counted_macs(create_model(name, model_args), MODELS[name].input_shape) == macs


@pytest.mark.parametrize(("name", "count"), [("resnet20-cifar", 269_722), ("vgg-cifar", 9_228_362)])
def test_parameters_equal_the_published_figure(name: str, count: int):
    assert sum(parameter.numel() for parameter in create_model(name).parameters()) == count


def test_a_name_outside_the_zoo_is_refused_with_the_nearest():
    with pytest.raises(ModelError, match=r"no model 'resnet20-cifra'. Did you mean 'resnet20-cifar'"):
        find_model("resnet20-cifra")


def test_names_stand_under_their_own_key():
    assert [entry.name for entry in MODELS.values()] == list(MODELS)


@pytest.mark.parametrize("classes", [0, -1, True, "ten", 2.0])
def test_a_number_of_classes_that_is_none_is_refused(classes: object):
    with pytest.raises(ModelError, match=r"classes is .* integer of at least 1"):
        create_model("lenet-digits", {"classes": classes})


def test_an_unknown_argument_is_refused_with_the_allowed_ones():
    with pytest.raises(
        ModelError, match=r"unexpected keyword argument 'clases'; allowed: classes. Did you mean 'classes'"
    ):
        create_model("vgg-cifar", {"clases": 6})
