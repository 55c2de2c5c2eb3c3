from dataclasses import replace

import numpy as np
import pytest

from tinyml.errors import RecipeError
from tinyml.numerics.exit_rules import RULES, ExitRule
from tinyml.runtime.exit_policy import ExitPolicy


@pytest.mark.parametrize(
    ("rule", "thresholds", "temperatures", "fault"),
    [
        ("margins", (0.5,), (1.0,), "'margins' is unknown; allowed are max_probability, .* Did you mean 'margin'?"),
        ("margin", (0.5, 0.5), (1.0,), "2 thresholds and 1 temperatures"),
        ("margin", (), (), "0 thresholds"),
        ("margin", (0.5, -0.1), (1.0, 1.0), "threshold of exit 1: -0.1: margin lies from 0"),
        ("margin", (float("nan"),), (1.0,), "threshold of exit 0: nan"),
        ("patience", (1.5,), (1.0,), "threshold of exit 0: 1.5: patience wants a whole number"),
        ("entropy", (0.5,), (0.0,), "temperature of exit 0: 0; allowed is a finite number above 0"),
        ("entropy", (0.5,), (float("inf"),), "temperature of exit 0: inf"),
    ],
    ids=["rule", "numbers", "none", "low", "nan", "part of an exit", "no temperature", "infinite temperature"],
)
def test_what_means_nothing_is_refused(
    rule: str, thresholds: tuple[float, ...], temperatures: tuple[float, ...], fault: str
) -> None:
    with pytest.raises(RecipeError, match=fault):
        ExitPolicy(rule=rule, thresholds=thresholds, temperatures=temperatures)  # type: ignore[arg-type]  # on purpose


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("exit_index", [0, 1, 2])
def test_all_leave_at_the_exit_that_is_wanted(rule: ExitRule, exit_index: int) -> None:
    logits = np.random.default_rng(0).standard_normal((3, 20, 4)).astype(np.float32)
    policy = ExitPolicy(rule=rule, thresholds=(1.0, 1.0), temperatures=(1.0, 1.0))
    wanted = replace(policy, thresholds=policy.leaving_at(exit_index))
    assert set(wanted.taken(logits)) == {exit_index}
