from pathlib import Path

import numpy as np
import pytest
import torch

from tinyml.models import create_model
from tinyml.models.resnet_cifar import SubsampleAndPad

SHARED = Path(__file__).parents[2].parent / "shared" / "data"


def test_the_shortcut_keeps_every_second_pixel_between_zero_channels():
    x = torch.arange(2 * 4 * 4, dtype=torch.float32).reshape(1, 2, 4, 4)
    y = SubsampleAndPad(2)(x)
    assert y.shape == (1, 4, 2, 2)
    assert torch.equal(y[0, 1], torch.tensor([[0.0, 2.0], [8.0, 10.0]]))
    assert not y[0, [0, 3]].any()


@pytest.mark.parametrize("depth", [20, 32, 44, 56, 110])
def test_depth_counts_the_convolutions_and_the_classifier(depth: int):
    weights = [name for name, p in create_model(f"resnet{depth}-cifar").named_parameters() if p.ndim > 1]
    assert len(weights) == depth


@pytest.mark.parametrize(("depth", "stamp", "accuracy"), [(20, "12fca82f", 0.91), (32, "d509ac18", 0.932)])
def test_a_published_checkpoint_loads_strictly_and_reaches_its_accuracy(depth: int, stamp: str, accuracy: float):
    path = SHARED / f"resnet{depth}-{stamp}.th"
    if not path.exists():
        pytest.skip("the development data is not beside this checkout")
    published = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    model = create_model(f"resnet{depth}-cifar")
    model.load_state_dict({name.removeprefix("module."): value for name, value in published.items()}, strict=True)
    with np.load(SHARED / "cifar10-lossless-test.npz") as test:
        pixels, labels = torch.from_numpy(test["x"]), test["y"]
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    with torch.no_grad():
        logits = model(((pixels / 255 - mean) / std).permute(0, 3, 1, 2))
    assert (logits.argmax(1).numpy() == labels).mean() == pytest.approx(accuracy)
