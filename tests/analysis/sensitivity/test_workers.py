"""Worker processes that are not wanted any more, or die."""

import multiprocessing
from dataclasses import replace

import pytest
import torch
import user_models
from random_task import random_task, trained

from tinyml.analysis.sensitivity.scan import Scan, ScanSettings
from tinyml.analysis.sensitivity.workers import Order, results_of_workers
from tinyml.architecture import Architecture
from tinyml.checkpoint import compressed_files
from tinyml.errors import TinymlError

pytestmark = pytest.mark.slow


@pytest.fixture
def order() -> Order:
    torch.manual_seed(0)
    architecture = Architecture(model="user_models:mixed", model_args={}, input_shape=(3, 32, 32))
    weights, text = compressed_files(trained(user_models.mixed()), architecture)
    task = random_task((3, 32, 32), images=300)
    return Order(
        weights=weights,
        architecture=text,
        task=replace(task, validation=task.train, train=None, fingerprint=""),
        pass_name="weight_pruning",
        settings=ScanSettings(levels=(0.5, 0.9), batch_size=1),  # many pieces: some are left when it ends
        threads=1,
    )


def test_a_worker_that_dies_is_told_of_with_the_cure(order: Order) -> None:
    results = results_of_workers(order, Scan().missing(order.scanner(), parts=1), workers=1)
    next(results)
    for process in multiprocessing.active_children():
        process.kill()
    with pytest.raises(TinymlError, match=r"ended before its work was done.*--resume and fewer --workers"):
        list(results)


def test_an_end_in_between_leaves_no_process_behind(order: Order) -> None:
    results = results_of_workers(order, Scan().missing(order.scanner(), parts=1), workers=2)
    next(results)
    results.close()  # type: ignore[attr-defined]  # a generator has it
    assert multiprocessing.active_children() == []
