"""What the report makes of a run's history."""

from collections.abc import Iterator
from pathlib import Path

from pydantic import JsonValue

from tinyml.pipeline.describe import _calibration, _curves, _events, _history

AT = "2026-01-01T00:00:00+00:00"


def events(step: str, losses: tuple[float, ...]) -> Iterator[dict[str, JsonValue]]:
    for number, loss in enumerate(losses, 1):
        yield {
            "at": AT,
            "event": "epoch",
            "pass": step,
            "epoch": number,
            "loss": loss,
            "validation_score": 0.5,
            "images_per_second": 100,
            "unfinished": False,
        }
    yield {"at": AT, "event": step, "left_alone": 0}


def test_epochs_are_drawn_and_not_told(job) -> None:
    happened = [*events("pass-00-fine_tuning", (2.0, 1.0)), *events("pass-02-fine_tuning", (0.5,))]
    assert [told.event for told in _history(happened)] == ["pass-00-fine_tuning", "pass-02-fine_tuning"]
    charts = {chart.title: chart.series[0].y for chart in _curves(happened, job())}
    assert charts == {
        "pass-00-fine_tuning: loss": (2.0, 1.0),
        "pass-00-fine_tuning: accuracy": (50, 50),
        "pass-02-fine_tuning: loss": (0.5,),
        "pass-02-fine_tuning: accuracy": (50,),
    }


def test_what_a_users_pass_calls_an_epoch_is_told_instead(job) -> None:
    happened: list[dict[str, JsonValue]] = [{"at": AT, "event": "epoch", "pass": "pass-00-mine", "epoch": 1}]
    assert _curves(happened, job()) == ()
    assert [told.details for told in _history(happened)] == ["pass: pass-00-mine, epoch: 1"]


def test_a_run_without_training_has_no_curves(job) -> None:
    assert _curves([{"at": AT, "event": "export"}], job()) == ()


def test_what_was_empty_is_not_told() -> None:
    told = _history([{"at": AT, "event": "export", "failed": [], "size_bytes": 7}])
    assert [(each.event, each.details) for each in told] == [("export", "size_bytes: 7")]


def test_images_to_calibrate_on_are_drawn_or_named_by_a_file(job) -> None:
    drawn, named = job(), job("int8", "passes.0.calibration.indices=hard.json")
    assert list(_calibration(drawn)) == ["method", "images", "images from", "seed"]
    assert list(_calibration(named)) == ["method", "indices", "images from"]
    assert _calibration(named)["indices"] == "hard.json"


def test_no_history_is_no_events(tmp_path: Path) -> None:
    assert _events(tmp_path / "history.jsonl") == []
