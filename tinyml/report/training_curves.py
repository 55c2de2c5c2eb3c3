"""How a pass trained: its loss and its validation score over the epochs."""

from collections.abc import Sequence
from statistics import median

from tinyml.report.line_chart import LineChart, Series
from tinyml.training.result import EpochRecord, best_epoch


def training_curves(step: str, epochs: Sequence[EpochRecord], *, score: str) -> tuple[LineChart, ...]:
    """Return the chart of the loss, and that of the validation score where there is one.

    Args:
        step: name of the step that trained: "pass-01-fine_tuning".
        epochs: in their order, one at least.
        score: what the validation score is: "accuracy", which is drawn in percent, or "AUC".
    """
    speed = median(epoch.images_per_second for epoch in epochs)
    losses = _curve("training loss", [(epoch.epoch, epoch.loss) for epoch in epochs])
    loss = LineChart(
        title=f"{step}: loss",
        x_label="epoch",
        y_label="mean loss of the epoch's steps",
        series=(losses,),
        whole_x=True,
        note=f"{speed:,.0f} images a second (the median epoch, validation left out).",
    )
    factor, unit = (100, ", %") if score == "accuracy" else (1, "")
    scored = [(each.epoch, factor * each.validation_score) for each in epochs if each.validation_score is not None]
    if not scored:
        return (loss,)
    unfinished = any(epoch.unfinished for epoch in epochs)
    among = " among the epochs after which nothing was left to prune" if unfinished else ""
    validation = LineChart(
        title=f"{step}: {score}",
        x_label="epoch",
        y_label=f"{score} on validation data{unit}",
        series=(_curve("after the epoch", scored),),
        whole_x=True,
        note=f"Kept: epoch {best_epoch(epochs)} of {len(epochs)}, chosen on this curve{among}; measured in torch.",
    )
    return loss, validation


def _curve(name: str, points: Sequence[tuple[int, float]]) -> Series:
    """Return a line through (epoch, value)."""
    return Series(name=name, x=tuple(float(x) for x, _ in points), y=tuple(y for _, y in points))
