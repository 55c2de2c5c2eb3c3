import math

import pytest

from tinyml.training.schedule import learning_rate_factor


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        pytest.param(0, 1.0, id="starts at the highest rate"),
        pytest.param(25, (1 + math.sqrt(0.5)) / 2, id="a quarter of the run: cos 45 degrees"),
        pytest.param(50, 0.5, id="the middle of the run is half"),
        pytest.param(75, (1 - math.sqrt(0.5)) / 2, id="three quarters: cos 135 degrees"),
    ],
)
def test_the_cosine_has_the_whole_run_as_half_its_period(step: int, expected: float) -> None:
    assert learning_rate_factor(step, total_steps=100, warmup=0.0) == pytest.approx(expected, abs=1e-12)


def test_the_warm_up_rises_in_equal_steps_to_the_highest_rate() -> None:
    factors = [learning_rate_factor(step, total_steps=40, warmup=0.1) for step in range(5)]
    assert factors == [0.25, 0.5, 0.75, 1.0, 1.0]


def test_the_rate_never_rises_after_the_warm_up() -> None:
    factors = [learning_rate_factor(step, total_steps=40, warmup=0.1) for step in range(4, 40)]
    assert factors == sorted(factors, reverse=True)
    assert 0 < factors[-1] < 0.01


def test_a_run_of_one_step_has_a_rate() -> None:
    assert learning_rate_factor(0, total_steps=1, warmup=0.05) == 1.0
