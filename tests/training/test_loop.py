import copy
import math
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from memory_store import Memory
from torch import Tensor, nn

from tinyml.data import Split, Task
from tinyml.errors import DataError, UsageError
from tinyml.progress import Item
from tinyml.training import DivergenceError, EpochRecord, Position, TrainingResult, TrainingSettings, train
from tinyml.training.losses import cross_entropy
from tinyml.training.weights import copy_out, digest


class Told:
    """A progress that remembers what was tracked: (total, done)."""

    def __init__(self) -> None:
        self.tracked: list[tuple[int | None, int]] = []

    def track(self, items: Iterable[Item], *, label: str, total: int | None = None, done: int = 0) -> Iterator[Item]:
        self.tracked.append((total, done))
        yield from items

    def status(self, text: str) -> None: ...


class KilledError(Exception):
    """Stands for a signal."""


def kill_at(step: int):  # type: ignore[no-untyped-def]  # a hook
    def hook(_: nn.Module, position: Position) -> None:
        if position.step == step:
            raise KilledError

    return hook


def trained(module: nn.Module, task: Task, settings: TrainingSettings, **more: object) -> tuple[str, TrainingResult]:
    own = copy.deepcopy(module)
    result = train(own, task, settings, **more)  # type: ignore[arg-type]  # handed through
    return digest(own), result


def test_a_separable_task_is_learnt(task: Task, settings: TrainingSettings, module: nn.Module) -> None:
    _, result = trained(module, task, replace(settings, epochs=6))
    assert result.history[-1].loss < 0.5 * result.history[0].loss
    assert result.best.validation_score == 1.0


def test_the_module_ends_in_evaluation_mode_and_plain_memory(
    task: Task, settings: TrainingSettings, module: nn.Module
) -> None:
    train(module, task, settings)
    assert not any(part.training for part in module.modules())
    assert all(tensor.is_contiguous() for tensor in module.state_dict().values())


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_the_same_seed_gives_the_same_bytes(
    task: Task, settings: TrainingSettings, module: nn.Module, optimizer: str
) -> None:
    chosen = replace(settings, optimizer=optimizer)
    torch.manual_seed(1)
    first, _ = trained(module, task, chosen)
    torch.manual_seed(2)
    assert trained(module, task, chosen)[0] == first
    assert trained(module, task, replace(chosen, seed=1))[0] != first


@pytest.mark.parametrize(
    ("step", "interval_s"),
    [
        pytest.param(0, math.inf, id="before anything was saved"),
        pytest.param(4, math.inf, id="just after the first epoch"),
        pytest.param(10, math.inf, id="within the third epoch, back to its start"),
        pytest.param(6, 0.0, id="within the second epoch, from the very step"),
        pytest.param(11, 0.0, id="in the last step"),
    ],
)
@pytest.mark.parametrize(
    "more",
    [
        pytest.param({}, id="sgd"),
        pytest.param({"optimizer": "adamw", "ema_decay": 0.9, "gradient_clip": 1.0}, id="adamw with averages"),
    ],
)
def test_an_interrupted_training_ends_in_the_same_bytes(
    task: Task, settings: TrainingSettings, module: nn.Module, step: int, interval_s: float, more: dict[str, object]
) -> None:
    chosen = replace(settings, **more)  # type: ignore[arg-type]  # fields, from the parameters above
    undisturbed, expected = trained(module, task, chosen)
    store = Memory()
    with pytest.raises(KilledError):
        trained(module, task, chosen, store=store, save_interval_s=interval_s, on_step=[kill_at(step)])
    resumed, result = trained(module, task, chosen, store=store, save_interval_s=interval_s)
    assert resumed == undisturbed
    assert [(r.epoch, r.loss, r.validation_score) for r in result.history] == [
        (r.epoch, r.loss, r.validation_score) for r in expected.history
    ]


def test_a_continued_training_tells_the_progress_what_was_done(
    task: Task, settings: TrainingSettings, module: nn.Module
) -> None:
    store, progress = Memory(), Told()
    with pytest.raises(KilledError):
        trained(module, task, settings, store=store, on_step=[kill_at(5)])
    trained(module, task, settings, store=store, progress=progress)
    assert progress.tracked == [(12, 4)]  # of three epochs of four steps, one was over


def test_a_finished_training_is_not_done_again(task: Task, settings: TrainingSettings, module: nn.Module) -> None:
    store = Memory()
    finished, _ = trained(module, task, settings, store=store)
    again, result = trained(module, task, settings, store=store, on_step=[kill_at(0), kill_at(11)])
    assert (again, len(result.history)) == (finished, 3)


def test_a_state_is_not_continued_with_other_settings(
    task: Task, settings: TrainingSettings, module: nn.Module
) -> None:
    store = Memory()
    trained(module, task, settings, store=store)
    with pytest.raises(UsageError, match=r"cannot be resumed.*setting learning_rate was 0.05, is 0.01"):
        trained(module, task, replace(settings, learning_rate=0.01), store=store)


def test_hooks_do_not_change_what_is_seen(task: Task, settings: TrainingSettings, module: nn.Module) -> None:
    def draws(_: nn.Module, __: Position) -> None:
        np.random.default_rng().random(3)
        torch.rand(5)

    assert trained(module, task, settings, on_step=[draws])[0] == trained(module, task, settings)[0]


def test_a_hook_sees_every_position_after_its_step(task: Task, settings: TrainingSettings, module: nn.Module) -> None:
    seen: list[int] = []
    train(module, task, settings, on_step=[lambda _, position: seen.append(position.step)])
    assert seen == list(range(12))


def test_the_weights_of_the_best_epoch_are_kept(task: Task, settings: TrainingSettings, module: nn.Module) -> None:
    def spoil(own: nn.Module, position: Position) -> None:
        if position.epoch == 3:  # the classifier now says the same for every image
            nn.init.zeros_(own[5].weight)

    _, result = trained(module, task, settings, on_step=[spoil])
    assert (result.best_epoch, result.history[2].validation_score) == (2, 0.5)


def test_without_a_validation_split_the_last_epoch_is_kept(
    task: Task, settings: TrainingSettings, module: nn.Module
) -> None:
    _, result = trained(module, replace(task, validation=None), settings)
    assert (result.best_epoch, result.best.validation_score) == (3, None)


def test_the_test_split_is_not_touched(task: Task, settings: TrainingSettings, module: nn.Module) -> None:
    assert trained(module, replace(task, test=None), settings)[0] == trained(module, task, settings)[0]


def test_averages_are_what_is_kept(task: Task, settings: TrainingSettings, module: nn.Module) -> None:
    last: dict[str, Tensor] = {}
    train(
        module,
        replace(task, validation=None),
        replace(settings, ema_decay=0.9),
        on_step=[lambda own, _: last.update(copy_out(own))],
    )
    kept = copy_out(module)
    assert not torch.equal(kept["5.weight"], last["5.weight"])
    assert torch.equal(kept["1.running_mean"], last["1.running_mean"])


def nan_from(step: int):  # type: ignore[no-untyped-def]  # an objective
    calls = iter(range(1000))

    def objective(module: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        return cross_entropy(module(inputs), targets) * (math.nan if next(calls) >= step else 1.0)

    return objective


def test_a_loss_that_is_not_finite_stops_with_the_best_weights_so_far(
    task: Task, settings: TrainingSettings, module: nn.Module
) -> None:
    one_epoch: list[str] = []

    def remember(own: nn.Module, position: Position) -> None:
        if position.step == 3:
            one_epoch.append(digest(own))

    with pytest.raises(DivergenceError, match=r"epoch 2, step 3: the loss is nan.*learning_rate \(now 0.05\)"):
        train(module, task, settings, objective=nan_from(6), on_step=[remember])
    assert digest(module) == one_epoch[0]


def test_a_run_that_diverges_at_once_leaves_the_module_as_it_was(
    task: Task, settings: TrainingSettings, module: nn.Module
) -> None:
    before = digest(module)
    with pytest.raises(DivergenceError, match="epoch 1, step 2: the loss is nan") as raised:
        train(module, task, settings, objective=nan_from(1))
    assert (digest(module), raised.value.result.best_epoch) == (before, 0)


def test_a_rate_far_too_high_is_noticed(task: Task, settings: TrainingSettings, module: nn.Module) -> None:
    with pytest.raises(DivergenceError, match="Lower learning_rate"):
        train(module, task, replace(settings, learning_rate=1e30))


def test_clipping_bounds_the_step(task: Task, settings: TrainingSettings, module: nn.Module) -> None:
    first = copy_out(module)["5.weight"]
    moved: list[float] = []
    train(
        module,
        task,
        replace(settings, gradient_clip=1e-6, weight_decay=0.0, epochs=1),
        on_step=[lambda own, _: moved.append(float((copy_out(own)["5.weight"] - first).abs().max()))],
    )
    # four steps of momentum at a gradient of at most 1e-6 cannot move further than 4 x 10 x 0.05 x 1e-6
    assert max(moved) < 2e-6


def test_each_epoch_is_told_as_it_ends(task: Task, settings: TrainingSettings, module: nn.Module) -> None:
    told: list[EpochRecord] = []
    result = train(module, task, settings, on_epoch=[told.append])
    assert tuple(told) == result.history


def test_a_continued_training_tells_the_epochs_of_its_state_first(
    task: Task, settings: TrainingSettings, module: nn.Module
) -> None:
    store, told = Memory(), []
    with pytest.raises(KilledError):
        trained(module, task, settings, store=store, on_step=[kill_at(9)])  # in the third epoch
    trained(module, task, settings, store=store, on_epoch=[lambda record: told.append(record.epoch)])
    assert told == [1, 2, 3]


def test_a_state_is_not_continued_where_the_callers_facts_differ(
    task: Task, settings: TrainingSettings, module: nn.Module
) -> None:
    store = Memory()
    trained(module, task, settings, store=store, identity={"teacher": "abc"})
    with pytest.raises(UsageError, match="teacher was abc, is xyz"):
        trained(module, task, settings, store=store, identity={"teacher": "xyz"})


def test_a_users_own_loss_and_optimizer_are_used(task: Task, settings: TrainingSettings, module: nn.Module) -> None:
    def squared(own: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        wanted = nn.functional.one_hot(targets, 2).float()
        return nn.functional.mse_loss(own(inputs), wanted)

    result = train(
        module,
        task,
        replace(settings, epochs=6),
        objective=squared,
        optimizer_factory=lambda own, chosen: torch.optim.RMSprop(own.parameters(), lr=chosen.learning_rate / 50),
    )
    assert result.best.validation_score == 1.0


def test_nothing_is_trained_without_a_train_split(task: Task, settings: TrainingSettings, module: nn.Module) -> None:
    with pytest.raises(DataError, match="no train split"):
        train(module, replace(task, train=None), settings)


def test_a_reconstruction_is_trained_on_its_inputs_and_scored_by_its_auc(settings: TrainingSettings) -> None:
    generator = np.random.default_rng(0)
    normal = np.outer(generator.normal(size=96), [1.0, 2.0, -1.0, 0.5]).astype(np.float32)  # on one line of the space
    strange = generator.normal(size=(32, 4)).astype(np.float32)
    mixed = Split(
        x=np.concatenate([normal[64:], strange]), y=np.repeat(np.array([0, 1], dtype=np.int64), 32), source="mixed"
    )
    pure = Split(x=normal[:64], y=np.zeros(64, dtype=np.int64), source="normal")
    task = Task(name="line", kind="reconstruction", input_shape=(4,), classes=(), train=pure, validation=mixed)
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 1), nn.Linear(1, 4))
    result = train(network, task, replace(settings, epochs=40))
    assert result.best.validation_score is not None
    assert result.best.validation_score > 0.95
