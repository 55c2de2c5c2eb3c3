import pytest
import torch
from random_task import uncompressed
from torch import nn

from tinyml.architecture import CaptureGraph, HalfPrecision
from tinyml.errors import RecipeError
from tinyml.graph.capture import LeftAlone
from tinyml.passes.linear_quantization import LinearQuantization


def test_a_copy_has_a_module_of_its_own():
    first = uncompressed(nn.Linear(2, 2), (2,))
    second = first.copy()
    with torch.no_grad():
        second.module.weight.fill_(7.0)
    assert not (first.module.weight == 7.0).any()


def test_every_pass_checks_the_settings_that_python_gives_it():
    with pytest.raises(RecipeError, match="LinearQuantization: weight_bits: 9: "):
        LinearQuantization(weight_bits=9)


def test_edits_and_what_was_left_alone_add_up():
    left = LeftAlone(module="a", reason="b")
    model = uncompressed(nn.Linear(2, 2), (2,)).edited(nn.Linear(2, 2), [CaptureGraph()], [left])
    model = model.edited(nn.Linear(2, 2), [HalfPrecision()])
    assert model.architecture.edits == (CaptureGraph(), HalfPrecision())
    assert model.left_alone == (left,)
