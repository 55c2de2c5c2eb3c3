"""C-scores: who is trained without whom, and what is kept of it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from memory_store import Memory
from torch import nn

from tinyml.analysis.difficulty import c_score
from tinyml.analysis.difficulty.c_score import CScoreSettings, c_scores, check_c_score
from tinyml.data import Split, Task
from tinyml.errors import UsageError
from tinyml.progress import Silent

FOUR = CScoreSettings(runs=4, epochs=3)


def points(examples: int = 40) -> Task:
    """Two classes that the first coordinate tells apart; the last example bears the other's label."""
    y = np.arange(examples) % 2
    x = np.random.default_rng(0).standard_normal((examples, 3)).astype(np.float32)
    x[:, 0] = 6 * y - 3
    y[-1] = 1 - y[-1]
    train = Split(x=x, y=y, source="points")
    return Task(name="points", kind="classification", input_shape=(3,), classes=("a", "b"), train=train)


def fresh(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Linear(3, 2)


def test_a_wrong_label_is_not_learned_from_the_others() -> None:
    scores = c_scores(fresh, points(), FOUR, store=None, progress=Silent())
    assert scores[-1] == 0
    assert np.nanmean(scores[:-1]) > 0.9


def test_an_example_counts_only_where_it_was_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    halves = []
    monkeypatch.setattr(c_score, "train", lambda _module, task, *_, **__: halves.append(task.train.x[:, 1].tolist()))
    task = points()
    scores = c_scores(fresh, task, FOUR, store=None, progress=Silent())
    always = [all(value in half for half in halves) for value in task.splits["train"].x[:, 1].tolist()]
    assert [len(half) for half in halves] == [20] * 4
    assert np.isnan(scores).tolist() == always
    assert any(always)


def test_an_interrupted_run_goes_on_with_the_next_training(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, store = c_scores(fresh, points(), FOUR, store=None, progress=Silent()), Memory()
    c_scores(fresh, points(), replace(FOUR, runs=2), store=store, progress=Silent())
    trained, original = [], c_score.train
    monkeypatch.setattr(c_score, "train", lambda *given, **named: trained.append(original(*given, **named)))
    np.testing.assert_array_equal(c_scores(fresh, points(), FOUR, store=store, progress=Silent()), whole)
    assert len(trained) == 2


def test_a_large_set_is_refused() -> None:
    check_c_score(points(5000))
    with pytest.raises(UsageError, match="has 5,002 examples; at most 5,000 are allowed: take fewer with --images"):
        check_c_score(points(5002))
