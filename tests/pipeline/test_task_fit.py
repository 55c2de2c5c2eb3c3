import pytest
import torch
import user_models
from exit_networks import with_exits
from random_task import random_task
from torch import Tensor, nn

from tinyml.errors import ModelError
from tinyml.layers.half import HalfPrecisionNetwork
from tinyml.pipeline.task_fit import try_model

IMAGE = (3, 32, 32)


class Two(nn.Module):
    """Somebody's network with two outputs."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        logits = torch.zeros(len(x), 10)
        return logits, logits


def test_a_network_with_exits_fits_where_every_exit_does():
    model, shapes = with_exits(user_models.inception_like(), IMAGE), []
    model.register_forward_hook(lambda _, __, outputs: shapes.extend(tuple(output.shape[1:]) for output in outputs))
    try_model(model, IMAGE, random_task(IMAGE))
    assert len(shapes) > 1
    assert set(shapes) == {(10,)}


def test_a_network_with_exits_in_half_precision_fits():
    model = HalfPrecisionNetwork(with_exits(user_models.inception_like(), IMAGE))
    try_model(model, IMAGE, random_task(IMAGE))
    with pytest.raises(ModelError, match="the model returns a tuple"):
        try_model(HalfPrecisionNetwork(Two()), IMAGE, random_task(IMAGE))


def test_an_exit_of_other_classes_is_refused():
    with pytest.raises(ModelError, match="The model has 7 outputs"):
        try_model(with_exits(user_models.inception_like(), IMAGE, classes=7), IMAGE, random_task(IMAGE))


def test_several_outputs_that_are_no_exits_are_refused():
    with pytest.raises(ModelError, match="the model returns a tuple; it must return one tensor"):
        try_model(Two(), IMAGE, random_task(IMAGE))
