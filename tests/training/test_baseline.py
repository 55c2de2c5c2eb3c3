import json

import pytest
import torch
from torch import nn

from tinyml.data import load_task
from tinyml.errors import ModelError
from tinyml.progress import Silent
from tinyml.training import TrainingSettings, evaluate, fresh_module, train_baseline, training_facts
from tinyml.training.weights import digest


def test_first_weights_are_drawn_by_the_seed_alone() -> None:
    torch.manual_seed(5)
    first = fresh_module("lenet-digits", {}, seed=0)
    assert digest(first) == digest(fresh_module("lenet-digits", {}, seed=0))
    assert digest(first) != digest(fresh_module("lenet-digits", {}, seed=1))


def test_the_callers_generator_is_left_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    fresh_module("lenet-digits", {}, seed=0)
    assert torch.equal(torch.rand(1), expected)


def test_a_model_with_other_classes_is_refused() -> None:
    with pytest.raises(ModelError, match="3 outputs"):
        train_baseline("lenet-digits", {"classes": 3}, load_task("digits"), TrainingSettings(), Silent())


def test_the_facts_of_a_file_are_text_and_the_same_every_time() -> None:
    facts = training_facts("lenet-digits", {"classes": 10}, load_task("digits"), TrainingSettings(epochs=4))
    assert (facts["model_args"], json.loads(facts["settings"])["epochs"]) == ('{"classes": 10}', 4)
    assert facts == training_facts("lenet-digits", {"classes": 10}, load_task("digits"), TrainingSettings(epochs=4))


@pytest.mark.slow
def test_the_digits_are_learnt_with_the_default_settings() -> None:
    task = load_task("digits")
    module: nn.Module = train_baseline("lenet-digits", {}, task, TrainingSettings(), Silent())
    assert task.test is not None
    assert evaluate(module, task, task.test).score >= 0.98
