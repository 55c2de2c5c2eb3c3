import numpy as np
import onnx
import pytest
import torch
from random_task import quantized, random_context, random_task
from torch import nn

from tinyml.export import PixelNormalization, to_onnx
from tinyml.export.pixels import PixelInput
from tinyml.runtime.session import logits, open_session

IMAGE = (3, 8, 8)
TASK = random_task(IMAGE, pixels=True)
NORMALIZATION = PixelNormalization(mean=TASK.mean, std=TASK.std)


def small_network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10)).eval()


def test_black_and_white_are_the_ends_of_the_normalised_range():
    network = PixelInput(nn.Identity(), PixelNormalization(mean=(0.5, 0.0, 0.25), std=(0.5, 1.0, 0.25)))
    pixels = torch.tensor([0, 255], dtype=torch.uint8).reshape(1, 2, 1, 1).expand(1, 2, 1, 3)
    expected = torch.tensor([[-1.0, 1.0], [0.0, 1.0], [-1.0, 3.0]]).reshape(1, 3, 2, 1)
    assert torch.allclose(network(pixels), expected, atol=2**-22)


def test_pixels_give_what_the_tasks_own_normalisation_gives_bit_for_bit():
    pixels = TASK.train.x
    found = PixelInput(nn.Identity(), NORMALIZATION)(torch.from_numpy(pixels)).numpy()
    assert np.array_equal(found, TASK.inputs(pixels))


@pytest.fixture(scope="module")
def files() -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """The same quantized network for float and for pixel inputs."""
    context = random_context(IMAGE, task=TASK)
    module = quantized(small_network(), IMAGE).module
    floats = to_onnx(module, input_shape=IMAGE, target=context.target)
    return floats, to_onnx(module, input_shape=IMAGE, target=context.target, pixels=NORMALIZATION)


def test_a_file_for_pixels_takes_uint8_in_the_order_of_image_files(files):
    session = open_session(files[1].SerializeToString())
    assert session.input_dtype == np.uint8
    assert session.input_shape[1:] == (8, 8, 3)


def test_both_files_agree(files):
    floats, pixels = (open_session(file.SerializeToString()) for file in files)
    expected = logits(floats, TASK.inputs(TASK.train.x))
    # A pixel that lies on a tie may take the neighbouring code where the runtime fuses multiplication and addition.
    assert np.abs(logits(pixels, TASK.train.x) - expected).max() <= np.ptp(expected) / 255


def test_both_files_name_their_weights_alike(files):
    names = [{item.name for item in file.graph.initializer if "weight" in item.name} for file in files]
    assert names[0] == names[1] != set()
