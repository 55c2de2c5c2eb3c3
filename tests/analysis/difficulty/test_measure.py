"""The difficulty of digits, example by example against brute force, and what is refused."""

import copy
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
import user_models
from exit_networks import with_exits
from memory_store import Memory
from random_task import random_task, trained, uncompressed
from sklearn.neighbors import NearestNeighbors
from torch import Tensor, nn

from tinyml.analysis.difficulty.examples import Examples
from tinyml.analysis.difficulty.measure import Difficulty, Request, Work
from tinyml.analysis.difficulty.probes import ProbeSettings
from tinyml.architecture import Architecture
from tinyml.checkpoint import load_into, read_state
from tinyml.data import Split, Task, load_task
from tinyml.errors import DataError, UsageError
from tinyml.models import create_model
from tinyml.passes import Compressed
from tinyml.progress import Item, Silent
from tinyml.training.evaluation import NonFiniteError

K = 30


@pytest.fixture(scope="module")
def lenet(digits_checkpoint: Path) -> nn.Module:
    module = create_model("lenet-digits", {})
    load_into(module, read_state(digits_checkpoint), source=digits_checkpoint)
    return module.eval()


@cache
def digits() -> Task:
    return load_task("digits")


def request(module: nn.Module, task: Task | None = None, **changes: object) -> Request:
    task = task or digits()
    architecture = Architecture(model="lenet-digits", input_shape=task.input_shape)
    whole = Request(model=Compressed(module=module, architecture=architecture), task=task, settings=ProbeSettings())
    return replace(whole, **changes)  # type: ignore[arg-type]  # fields of Request


def measured(wanted: Request, store: Memory | None = None, progress: Silent | None = None) -> Difficulty:
    return Work(wanted).measure(store=store, c_store=None, progress=progress or Silent())


def neighbours(queries: np.ndarray, references: np.ndarray, metric: str) -> np.ndarray:
    """Return all references (Q, R) of each query in order, those at one distance by their index."""
    searcher = NearestNeighbors(n_neighbors=len(references), algorithm="brute", metric=metric).fit(references)
    distances, indices = searcher.kneighbors(queries)
    return np.take_along_axis(indices, np.lexsort((indices, distances.round(12))), axis=1)


def vote(labels: list[int]) -> int:
    votes = [labels.count(label) for label in labels]
    return labels[votes.index(max(votes))]


def depth(probes: list[int], answer: int) -> int:
    return next(d for d in range(len(probes) + 1) if all(probe == answer for probe in probes[d:]))


def activations(module: nn.Module, task: Task, split: Split) -> list[np.ndarray]:
    """Return pixels, the features of LeNet's layers as the mean of quarters, and logits."""
    x = torch.from_numpy(task.inputs(split.x))
    means = nn.AdaptiveAvgPool2d(2)
    with torch.no_grad():
        first = module.relu1(module.bn1(module.conv1(x)))
        second = module.pool(module.relu2(module.bn2(module.conv2(first))))
        third = module.relu3(module.linear1(second.flatten(1)))
        values = [means(first), means(second), third, module.linear2(third)]
    pixels = split.x.transpose(0, 3, 1, 2).reshape(len(x), -1)
    return [pixels.astype(np.float64), *(each.flatten(1).double().numpy() for each in values)]


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_the_depth_of_every_digit_is_that_of_brute_force(lenet: nn.Module, metric: str) -> None:
    settings = ProbeSettings(metric=metric, batch_size=10_000)  # type: ignore[arg-type]  # one of two
    found = measured(request(lenet, settings=settings)).examples
    task, references = digits(), activations(lenet, digits(), digits().splits["train"])
    labels = task.splits["train"].y
    for name, split in task.splits.items():
        values = activations(lenet, task, split)
        answers = values[-1].argmax(axis=1)
        probes = []
        for queries, known in zip(values, references, strict=True):
            near = neighbours(queries, known, metric).tolist()
            if name == "train":
                near = [[index for index in row if index != own] for own, row in enumerate(near)]
            probes.append([vote(labels[row[:K]].tolist()) for row in near])
        expected = [depth(list(own), answer) for own, answer in zip(zip(*probes, strict=True), answers, strict=True)]
        assert found[name].depths.tolist() == expected
        assert found[name].predictions.tolist() == answers.tolist()


def same(first: dict[str, Examples], second: dict[str, Examples]) -> bool:
    return all(np.array_equal(first[name].probes, second[name].probes) for name in first)


def test_memory_for_one_place_at_a_time_gives_the_same(lenet: nn.Module) -> None:
    whole = measured(request(lenet))
    tight = ProbeSettings(memory_bytes=4 * 128 * (1797 + 1097))
    assert same(measured(request(lenet, settings=tight)).examples, whole.examples)


class Interrupting(Silent):
    """Ctrl-C after some places; remembers how many were probed."""

    def __init__(self, at: int = 10**9) -> None:
        self.at, self.seen = at, 0

    def track(self, items: Iterable[Item], *, label: str, total: int | None = None, done: int = 0) -> Iterator[Item]:
        for item in items:
            yield item
            self.seen += label == "probes"
            if self.seen == self.at:
                raise KeyboardInterrupt


def test_an_interrupted_run_goes_on_where_it_was(lenet: nn.Module) -> None:
    whole, store, rest = measured(request(lenet)), Memory(), Interrupting()
    with pytest.raises(KeyboardInterrupt):
        measured(request(lenet), store, Interrupting(at=3))
    resumed = measured(request(lenet), store, rest)
    assert (resumed.summary, same(resumed.examples, whole.examples)) == (whole.summary, True)
    assert rest.seen == len(whole.summary.layers) - 3


def test_fewer_examples_of_train_keep_their_rows(lenet: nn.Module) -> None:
    train = measured(request(lenet, images=200)).examples["train"]
    split = digits().splits["train"]
    assert len(train) == len(set(train.indices.tolist())) == 200
    np.testing.assert_array_equal(split.y[train.indices], train.labels)


def test_exits_follow_validation_and_test_changes_nothing(lenet: nn.Module) -> None:
    summary = measured(request(lenet)).summary
    other = replace(digits(), test=None, fingerprint="")
    assert (summary.exits_from, {place.name for place in summary.exits}) == ("validation", {"relu1", "pool"})
    assert measured(request(lenet, other)).summary.exits == summary.exits


def test_only_the_layers_that_were_asked_for_are_probed(lenet: nn.Module) -> None:
    layers = measured(request(lenet, settings=ProbeSettings(layers=("conv*",)))).summary.layers
    assert [layer.name for layer in layers] == ["(input)", "conv1", "conv2", "(output)"]


def test_the_layer_at_the_output_exists(lenet: nn.Module) -> None:
    places = Work(request(lenet, settings=ProbeSettings(layers=("linear2",)))).places
    assert [place.name for place in places] == ["(input)", "(output)"]


def test_a_network_that_cannot_be_traced_has_depths_and_no_exits() -> None:
    class Undecided(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(64, 10)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x.flatten(1) if x.sum() > 0 else -x.flatten(1))

    summary = measured(request(Undecided(), images=100)).summary
    assert ([layer.name for layer in summary.layers], summary.exits) == (["(input)", "(output)"], ())
    assert "cannot be traced" in summary.notes[0]


def test_a_network_with_exits_gets_no_more_of_them(lenet: nn.Module) -> None:
    model = with_exits(copy.deepcopy(lenet), (1, 8, 8), head="flatten")
    summary = measured(request(model, images=100)).summary
    assert (summary.exits, summary.notes) == ((), ("no exits are suggested: the network has some",))


def test_a_network_with_exits_of_its_own_gets_no_more_of_them() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second, self.third = nn.Linear(64, 32), nn.Linear(32, 32), nn.Linear(32, 10)
            self.head = nn.Linear(32, 10)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            x = self.first(x.flatten(1))
            return self.head(x), self.third(self.second(x.relu()).relu())

    summary = measured(request(Two(), images=100)).summary
    assert (summary.exits, summary.notes) == ((), ("no exits are suggested: the network has some",))


def test_a_network_with_one_layer_has_no_place_for_an_exit() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    assert "no value carries the whole network" in measured(request(model, images=100)).summary.notes[0]


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        pytest.param({"settings": ProbeSettings(neighbours=1097)}, UsageError, "at most 1,096", id="k beyond train"),
        pytest.param({"images": 1098}, UsageError, "has 1,097", id="more images than there are"),
        pytest.param({"images": 30}, UsageError, "30 examples of train .*: at most 29 are", id="k beyond the images"),
        pytest.param({"settings": ProbeSettings(layers=("conv3",))}, UsageError, "mean 'conv2'", id="no such layer"),
        pytest.param(
            {"settings": ProbeSettings(memory_bytes=2**20)},
            UsageError,
            "'conv2' for 1,797 examples take 2 MiB; --memory-mb allows 1: give --memory-mb 2, or --images 674",
            id="features beyond memory",
        ),
    ],
)
def test_what_cannot_work_is_refused(
    lenet: nn.Module, changes: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Work(request(lenet, **changes))


def test_the_memory_that_is_asked_for_is_enough_and_less_is_not(lenet: nn.Module) -> None:
    mib = ProbeSettings(memory_bytes=2**20)
    largest = 4 * 128 * (1797 + 1097)  # bytes: 32 channels of four regions, of all and once more of train
    enough = [request(lenet, settings=ProbeSettings(memory_bytes=largest)), request(lenet, images=674, settings=mib)]
    assert [len(Work(each).places) for each in enough] == [5, 5]
    for less in (
        request(lenet, settings=ProbeSettings(memory_bytes=largest - 1)),
        request(lenet, images=675, settings=mib),
    ):
        with pytest.raises(UsageError, match="'conv2' for"):
            Work(less)


def test_data_without_depth_is_refused(lenet: nn.Module) -> None:
    train = digits().splits["train"]
    zeros = train.take(np.flatnonzero(train.y == 0), "zeros")
    with pytest.raises(DataError, match="all 108 examples of zeros are of the class '0'"):
        Work(request(lenet, replace(digits(), train=zeros, fingerprint="")))
    with pytest.raises(DataError, match="has no train split"):
        Work(request(lenet, replace(digits(), train=None, fingerprint="")))
    normal = Split(x=np.zeros((40, 3), np.float32), y=np.zeros(40, np.int64), source="normal")
    reconstruction = Task(name="motors", kind="reconstruction", input_shape=(3,), classes=(), train=normal)
    with pytest.raises(DataError, match="'motors' is reconstruction"):
        Work(request(nn.Linear(3, 3), reconstruction))


def test_a_network_that_answers_nonsense_is_refused() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    nn.init.constant_(model[1].weight, torch.nan)
    with pytest.raises(NonFiniteError, match=r"NaN or infinity at '\(output\)' for examples of train"):
        measured(request(model))


def test_a_users_network_on_noise_goes_the_whole_way() -> None:
    shape = (3, 32, 32)
    model = uncompressed(trained(user_models.inception_like()), shape)
    found = measured(Request(model=model, task=random_task(shape, images=64), settings=ProbeSettings(neighbours=5)))
    assert found.summary.splits["train"].n == sum(row.n for row in found.summary.splits["train"].depths) == 64
