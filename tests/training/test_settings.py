import pytest

from tinyml.errors import UsageError
from tinyml.training import TrainingSettings


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        pytest.param({"epochs": 0}, "epochs is 0, at least 1", id="no epochs"),
        pytest.param({"batch_size": -4}, "batch_size is -4, at least 1", id="negative batch"),
        pytest.param({"learning_rate": float("nan")}, "learning_rate is nan, a number above 0", id="rate NaN"),
        pytest.param({"weight_decay": -0.1}, "weight_decay is -0.1, 0 or more", id="negative decay"),
        pytest.param({"warmup": 1.0}, "warmup is 1.0, a share", id="nothing but warm-up"),
        pytest.param({"ema_decay": 1.5}, "ema_decay is 1.5, a share", id="average that grows"),
        pytest.param({"optimizer": "adam"}, "Did you mean 'adamw'", id="unknown optimizer"),
        pytest.param({"precision": "float61"}, "Did you mean 'float16'", id="unknown precision"),
    ],
)
def test_a_value_outside_its_range_is_refused_by_name(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        TrainingSettings(**wrong)  # type: ignore[arg-type]  # wrong on purpose


def test_all_faults_are_named_together() -> None:
    with pytest.raises(UsageError, match=r"epochs is 0.*seed is -1.*label_smoothing is 2"):
        TrainingSettings(epochs=0, seed=-1, label_smoothing=2)


def test_every_setting_is_in_the_json() -> None:
    assert TrainingSettings(epochs=7).as_json()["epochs"] == 7
