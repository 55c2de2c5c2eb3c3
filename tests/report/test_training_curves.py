"""Curves of a training."""

from collections.abc import Sequence

import pytest

from tinyml.report.line_chart import line_chart
from tinyml.report.training_curves import training_curves
from tinyml.training import EpochRecord

LOSSES = (2.0, 1.0, 0.5)


def epochs(scores: Sequence[float | None]) -> list[EpochRecord]:
    return [
        EpochRecord(epoch=number, loss=loss, validation_score=score, images_per_second=1000.0 * number)
        for number, (loss, score) in enumerate(zip(LOSSES, scores, strict=True), 1)
    ]


def test_the_loss_of_each_epoch_is_a_point() -> None:
    (loss,) = training_curves("pass-00-fine_tuning", epochs((None, None, None)), score="accuracy")
    assert (loss.series[0].x, loss.series[0].y) == ((1, 2, 3), LOSSES)
    assert (loss.title, loss.note.split(" ")[0]) == ("pass-00-fine_tuning: loss", "2,000")


@pytest.mark.parametrize(
    ("score", "drawn", "label"),
    [
        ("accuracy", (50, 90, 80), "accuracy on validation data, %"),
        ("AUC", (0.5, 0.9, 0.8), "AUC on validation data"),
    ],
)
def test_the_score_says_which_epoch_was_kept(score: str, drawn: tuple[float, ...], label: str) -> None:
    _, validation = training_curves("pass-00-fine_tuning", epochs((0.5, 0.9, 0.8)), score=score)
    assert validation.series[0].y == pytest.approx(drawn)
    assert validation.y_label == label
    assert validation.note.startswith("Kept: epoch 2 of 3,")


@pytest.mark.parametrize("count", [1, 2, 3])
def test_only_whole_epochs_are_written_below_the_axis(count: int) -> None:
    loss, _ = training_curves("pass-00-fine_tuning", epochs((0.5, 0.9, 0.8))[:count], score="accuracy")
    written = [part.split("<")[0] for part in line_chart(loss).split('text-anchor="middle">')[1:]]
    assert written == [str(number) for number in range(1, count + 1)]
