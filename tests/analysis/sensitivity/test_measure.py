"""The scan: the numbers of a plain loop, however the work is cut, interrupted and shared out."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import pytest
import torch
import user_models
from memory_store import Memory
from random_task import random_task, trained, uncompressed
from torch import nn

from tinyml.analysis.sensitivity.changes import CHANGES
from tinyml.analysis.sensitivity.curves import Sensitivity
from tinyml.analysis.sensitivity.measure import Request, measure_sensitivity, validation_of, with_fewer_images
from tinyml.analysis.sensitivity.scan import ScanSettings
from tinyml.analysis.sensitivity.units import Patterns, changed
from tinyml.architecture import MaskWeights, QuantizeWeights
from tinyml.data import Task
from tinyml.errors import DataError, RecipeError, UsageError
from tinyml.layers.mask import masks
from tinyml.passes import Compressed
from tinyml.progress import Item, Silent
from tinyml.training.evaluation import NonFiniteError, evaluate

SHAPE = (3, 32, 32)


def noise(images: int = 50) -> Task:
    task = random_task(SHAPE, images=images)
    return replace(task, validation=task.train, train=None, fingerprint="")


def request(factory: Callable[[], nn.Module] = user_models.mixed, **changes: object) -> Request:
    torch.manual_seed(0)
    whole = Request(
        model=uncompressed(trained(factory()), SHAPE, factory=f"user_models:{factory.__name__}"),
        task=noise(),
        pass_name="weight_pruning",
        settings=ScanSettings(levels=(0.5, 0.9), batch_size=20),
    )
    return replace(whole, **changes)  # type: ignore[arg-type]  # fields of Request


def measured(wanted: Request, store: Memory | None = None) -> Sensitivity:
    return measure_sensitivity(wanted, wanted.scanner(), store=store, progress=Silent())


class Interrupting(Silent):
    """Ctrl-C at a certain step; remembers how many steps were seen."""

    def __init__(self, at: int = 10**9) -> None:
        self.at, self.seen = at, 0

    def track(self, items: Iterable[Item], *, label: str, total: int | None = None, done: int = 0) -> Iterator[Item]:
        for item in items:
            self.seen += 1
            yield item
            if self.seen == self.at:
                raise KeyboardInterrupt


@pytest.mark.parametrize("pass_name", CHANGES)
@pytest.mark.parametrize("factory", [user_models.mixed, user_models.data_dependent])
def test_scores_are_those_of_the_plain_loop(pass_name: str, factory: Callable[[], nn.Module]) -> None:
    levels = (8, 2) if CHANGES[pass_name].quantity == "bits" else (0.5, 0.9)
    wanted = request(factory, pass_name=pass_name, settings=ScanSettings(levels=levels, batch_size=20))
    module, task = wanted.model.module, wanted.task
    plain = {}
    for unit in CHANGES[pass_name].units(module, SHAPE, Patterns()).units:
        for level in levels:
            with torch.no_grad(), changed(module, unit.values(level)):
                plain[unit.name, level] = evaluate(module, task, validation_of(task), batch_size=20).score
    found = measured(wanted)
    ours = {
        (curve.name, level): s for curve in found.curves for level, s in zip(curve.levels, curve.scores, strict=True)
    }
    assert ours == plain
    assert found.unchanged == evaluate(module, task, validation_of(task), batch_size=20).score


def test_an_interrupted_scan_goes_on_where_it_was() -> None:
    wanted, store, first, second = request(), Memory(), Interrupting(7), Interrupting()
    with pytest.raises(KeyboardInterrupt):
        measure_sensitivity(wanted, wanted.scanner(), store=store, progress=first)
    again = measure_sensitivity(wanted, wanted.scanner(), store=store, progress=second)
    steps = 3 * len(wanted.scanner().units)  # three batches
    assert (first.seen + second.seen, again) == (steps, measured(wanted))


@pytest.mark.slow
def test_workers_find_the_same_numbers() -> None:
    assert measured(request(workers=2)) == measured(request())


def test_the_network_of_the_caller_is_untouched() -> None:
    wanted = request()
    before = {name: tensor.clone() for name, tensor in wanted.model.module.state_dict().items()}
    measured(wanted)
    after = wanted.model.module.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


def masked() -> Compressed:
    model = uncompressed(trained(user_models.mixed()), SHAPE)
    module = MaskWeights(modules=("stem", "head"), structure="unstructured", ramp=0.0).apply(model.module)
    for _, mask in masks(module):
        mask.mask.view(-1)[::2] = False
    return replace(model, module=module)


def test_a_pruned_network_is_scanned_with_the_weights_that_it_uses() -> None:
    wanted = request(model=masked(), settings=ScanSettings(levels=(0.1,), patterns=Patterns(include=("stem",))))
    (curve,) = measured(wanted).curves
    assert curve.scores[0] == measured(wanted).unchanged  # its smallest weights are zero already
    assert len(list(masks(wanted.model.module))) == 2
    assert int((wanted.model.module.stem.weight == 0).sum()) == 216  # of 432: the masks still work


def test_channels_are_not_scanned_behind_masks() -> None:
    with pytest.raises(RecipeError, match="scan the checkpoint that it started from"):
        request(model=masked(), pass_name="channel_pruning").scanner()


class Single(nn.Linear):
    """A network that is one layer."""


def test_a_network_may_be_a_single_layer() -> None:
    torch.manual_seed(0)
    task = replace(random_task((4,)), fingerprint="")
    model = uncompressed(Single(4, 10).eval(), (4,))
    (curve,) = measured(request(model=model, task=replace(task, validation=task.train, train=None))).curves
    assert (curve.name, curve.size) == ("", 40)


def test_without_validation_data_nothing_is_scanned() -> None:
    with pytest.raises(DataError, match=r"no validation split, and nothing is chosen on test data.*validation: 0.1"):
        request(task=random_task(SHAPE)).scanner()


def test_codes_are_refused() -> None:
    model = uncompressed(user_models.mixed(), SHAPE)
    QuantizeWeights(modules=("stem",), q_min=-127, q_max=127).apply(model.module)
    with pytest.raises(RecipeError, match="codes already"):
        request(model=model).scanner()


def test_nothing_to_scan_is_refused_with_the_reasons() -> None:
    settings = ScanSettings(levels=(0.5,), patterns=Patterns(exclude=("*",)))
    with pytest.raises(RecipeError, match=r"no layer to scan \(stem: in the recipe's exclude"):
        request(settings=settings).scanner()


def test_a_network_that_answers_nan_is_refused() -> None:
    wanted = request()
    wanted.model.module.head.bias.data.fill_(torch.nan)
    with pytest.raises(NonFiniteError, match="cannot be scanned"):
        measured(wanted)


def test_fewer_images_are_drawn_by_the_seed_and_said_so() -> None:
    first, second = (validation_of(with_fewer_images(noise(), 10, 0)) for _ in range(2))
    assert (len(first), first.source) == (10, "10 drawn from noise")
    assert (first.x == second.x).all()
    with pytest.raises(UsageError, match="--images is 51, but the validation split of 'noise' has 50"):
        with_fewer_images(noise(), 51, 0)


def test_facts_survive_json() -> None:
    found = measured(request())
    assert Sensitivity.from_json(found.to_json()) == found
