from dataclasses import replace

import numpy as np
import pytest
import torch

from tinyml.data import Augmentation, Task
from tinyml.errors import DataError, UsageError
from tinyml.torchrun import Launch
from tinyml.training import TrainingSettings
from tinyml.training.batches import Batches, positions, train_split


def test_an_epoch_shows_every_image_once_in_another_order(task: Task, settings: TrainingSettings) -> None:
    numbered = replace(task.train, y=np.arange(64))
    batches = Batches(task, numbered, settings)
    seen = torch.cat([batches.at(position)[1] for position in positions(0, images=64, settings=settings)])
    first, second = seen[:64], seen[64:128]
    assert first.sort().values.tolist() == second.sort().values.tolist() == list(range(64))
    assert not torch.equal(first, second)


def test_a_batch_depends_on_nothing_but_seed_and_position(task: Task, settings: TrainingSettings) -> None:
    steps = positions(0, images=64, settings=settings)
    in_order = [Batches(task, task.train, settings).at(position)[0] for position in steps]
    np.random.default_rng(0).random(7)
    torch.rand(3)
    backwards = [Batches(task, task.train, settings).at(position)[0] for position in reversed(steps)]
    assert all(torch.equal(a, b) for a, b in zip(in_order, reversed(backwards), strict=True))


def test_another_seed_gives_another_order(task: Task, settings: TrainingSettings) -> None:
    first = positions(0, images=64, settings=settings)[0]
    batches = [Batches(task, task.train, replace(settings, seed=seed)).at(first)[0] for seed in (0, 1)]
    assert not torch.equal(*batches)


def test_without_augmentation_the_inputs_are_the_tasks_own(task: Task, settings: TrainingSettings) -> None:
    plain = replace(task, augmentation=Augmentation())
    whole = replace(settings, batch_size=64)
    inputs, _ = Batches(plain, plain.train, whole).at(positions(0, images=64, settings=whole)[0])
    own = plain.inputs(plain.train.x)
    assert np.array_equal(np.sort(inputs.numpy(), axis=None), np.sort(own, axis=None))


def test_positions_count_steps_from_nought_and_epochs_from_one() -> None:
    settings = TrainingSettings(epochs=2, batch_size=4)
    steps = positions(1, images=11, settings=settings)
    assert [(p.step, p.epoch, p.ends_epoch, p.share) for p in steps] == [
        (1, 1, True, 0.5),
        (2, 2, False, 0.75),
        (3, 2, True, 1.0),
    ]


def test_data_without_a_train_split_is_refused(task: Task, settings: TrainingSettings) -> None:
    with pytest.raises(DataError, match="'dark-or-bright' has no train split"):
        train_split(replace(task, train=None), settings)


def test_a_batch_larger_than_the_split_is_refused(task: Task) -> None:
    with pytest.raises(UsageError, match=r"batch_size is 65, but the train split .* has 64 images: at most 64"):
        train_split(task, TrainingSettings(batch_size=65))


def test_the_parts_of_several_processes_are_the_batch_of_one(task: Task, settings: TrainingSettings) -> None:
    each = replace(settings, batch_size=5)
    together = positions(0, images=64, settings=each, processes=3)
    assert together == positions(0, images=64, settings=replace(settings, batch_size=15))
    places = [Launch(rank=rank, world_size=3) for rank in range(3)]
    for position in (together[0], together[5]):
        parts = [Batches(task, task.train, each, place).at(position) for place in places]
        inputs, targets = Batches(task, task.train, replace(settings, batch_size=15)).at(position)
        assert torch.equal(torch.cat([part[0] for part in parts]), inputs)
        assert torch.equal(torch.cat([part[1] for part in parts]), targets)


def test_a_batch_of_all_processes_larger_than_the_split_is_refused(task: Task) -> None:
    with pytest.raises(UsageError, match=r"is 33 in each of 2 processes, .* has 64 images: at most 32"):
        train_split(task, TrainingSettings(batch_size=33), processes=2)
