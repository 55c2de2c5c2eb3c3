import pytest

from tinyml.errors import RecipeError
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
