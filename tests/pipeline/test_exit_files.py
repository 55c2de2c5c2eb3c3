"""The files of a network with exits: what is asked before work, and what a kill does not change."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from tinyml.data import Task
from tinyml.errors import DataError, RecipeError
from tinyml.export.exits import exit_policy
from tinyml.passes.exit_training import ExitTraining
from tinyml.pipeline import compress, exit_files
from tinyml.pipeline.exit_files import goal_checks, policy_of, read_choice, stages_of
from tinyml.pipeline.prepare import prepare
from tinyml.runtime.exits_file import read_exits
from tinyml.runtime.timer import TimerSettings, time_interleaved
from tinyml.training.evaluation import NonFiniteError

RECIPE = """\
version: 1
name: exits
passes:
  - early_exit: {{exits: 1, {goal}}}
  - fine_tuning: {{epochs: 1, learning_rate: 0.02, exits: {{train: heads}}}}
"""


@pytest.fixture
def exits(job, tmp_path: Path, digits_checkpoint: Path):
    """Return a function that makes a job with one exit and this goal."""

    def make(goal: str = "max_drop_points: 1", **changed: object):
        file = tmp_path / "mine.yaml"
        file.write_text(RECIPE.format(goal=goal))
        return job(str(file), checkpoint=digits_checkpoint, **changed)

    return make


@pytest.mark.parametrize(
    ("without", "message"),
    [
        pytest.param("task", "chosen on validation data: give --data", id="no data"),
        pytest.param("validation", "no validation data, on which is chosen when", id="no validation split"),
    ],
)
def test_exits_without_validation_data_are_refused_before_work(exits, digits: Task, without: str, message: str) -> None:
    task = None if without == "task" else replace(digits, validation=None)
    with pytest.raises(DataError, match=message):
        prepare(exits(task=task))


def test_a_run_with_exits_asks_for_data_again(exits, job, tmp_path: Path) -> None:
    compress(exits(), tmp_path / "run")
    with pytest.raises(DataError, match="give --data"):
        prepare(job("baseline", checkpoint=tmp_path / "run", model="", task=None))


def test_a_place_that_does_not_exist_is_refused_before_work(exits) -> None:
    chosen = exits()
    entry = chosen.recipe.passes[0]
    strange = replace(entry, settings=replace(entry.settings, exits=("conv3",)))
    recipe = replace(chosen.recipe, passes=(strange, *chosen.recipe.passes[1:]))
    with pytest.raises(RecipeError, match=r"'conv3' is no place for an exit\. Did you mean 'conv"):
        prepare(replace(chosen, recipe=recipe))


def test_settings_for_other_exits_than_there_will_be_are_refused_before_work(exits) -> None:
    chosen = exits()
    attach, train = chosen.recipe.passes
    strange = replace(train, settings=replace(train.settings, exits=ExitTraining(weights=(1.0, 1.0, 1.0))))
    with pytest.raises(RecipeError, match="3 weights are given and 2 are needed"):
        prepare(replace(chosen, recipe=replace(chosen.recipe, passes=(attach, strange))))


def test_a_continued_run_keeps_its_goal_and_chooses_anew(exits, job, tmp_path: Path) -> None:
    compress(exits(), tmp_path / "first")
    second = job("baseline", checkpoint=tmp_path / "first", model="")
    compress(second, tmp_path / "second")
    first_choice, second_choice = (read_choice(tmp_path / name) for name in ("first", "second"))
    assert first_choice == second_choice
    assert first_choice is not None
    assert policy_of(tmp_path / "second") == first_choice.policy


def test_a_network_without_exits_has_neither_stages_nor_policy(int8_run: Path) -> None:
    assert (stages_of(int8_run), policy_of(int8_run), read_choice(int8_run), goal_checks(int8_run)) == (None,) * 3 + (
        (),
    )


class Killed(Exception):
    """What stands for a kill in the middle."""


def test_measured_costs_survive_a_kill(exits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    timings: list[object] = []

    def counted(*given, **named):
        timings.append(given)
        quick = TimerSettings(rounds=4, block=4, minimum_rounds=4, warm_up_seconds=0.01, minimum_warm_up_seconds=0)
        return time_interleaved(*given, **named, settings=quick)

    def killed(*_: object, **__: object) -> None:
        raise Killed

    monkeypatch.setattr(exit_files, "time_interleaved", counted)
    chosen = exits("keep_latency: 1.0, rule: margin")
    with monkeypatch.context() as patch:
        patch.setattr(exit_files, "choose_exits", killed)
        with pytest.raises(Killed):
            compress(chosen, tmp_path / "run")
    compress(chosen, tmp_path / "run", resume=True)
    choice = read_choice(tmp_path / "run")
    assert len(timings) == 1
    assert choice is not None
    assert list(choice.costs) == sorted(choice.costs)
    assert choice.policy.rule == "margin"


def test_answers_that_are_no_numbers_are_refused_where_thresholds_would_be_chosen(
    exits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def overflown(_: object, x: np.ndarray) -> np.ndarray:
        return np.where(np.arange(len(x)) == 0, np.inf, 0.0)[None, :, None] + np.zeros((2, 1, 10), np.float32)

    monkeypatch.setattr(exit_files, "logits_at_exits", overflown)
    with pytest.raises(NonFiniteError, match="for 5 of 300 validation examples"):  # the first of each batch of 64
        compress(exits(), tmp_path / "run")


def test_the_one_file_the_stages_and_the_choice_have_one_policy(exits, tmp_path: Path) -> None:
    compress(exits(), tmp_path / "run")
    choice = read_choice(tmp_path / "run")
    assert choice is not None
    one_file = exit_policy(onnx.load(tmp_path / "run" / "model.onnx"))
    assert one_file == read_exits(tmp_path / "run" / "stages" / "exits.json").policy == choice.policy
