"""The page and the table of weights."""

import torch

from tinyml.analysis.inspection import inspect_tensors
from tinyml.report.inspection_page import COLUMNS, inspection_rows, render_inspection, totals_text

FOUND = inspect_tensors({"a.weight": torch.tensor([[0.0, 2.0], [0.0, -1.0]]), "b": torch.ones(2, 3)}, "file")


def test_a_row_has_every_column() -> None:
    row = dict(zip(COLUMNS, inspection_rows(FOUND)[0], strict=True))
    assert (row["layer"], row["shape"], row["zeros"], row["distinct"]) == ("a", "2 x 2", "50.0 %", "3")
    assert (row["lowest"], row["highest"], row["bytes"]) == ("-1.00", "2.00", "16 B")


def test_the_sums_are_over_all_layers() -> None:
    assert totals_text(FOUND).startswith("2 layers, 10 weights, 2 of them zero (20.0 %), 40 B; 0 other")


def test_the_page_has_three_bars_and_a_histogram_for_each_layer() -> None:
    assert render_inspection(FOUND).count("<svg") == 3 + 2


def test_with_a_baseline_both_sides_are_drawn() -> None:
    page = render_inspection(FOUND, inspect_tensors({"a.weight": torch.ones(2, 2)}, "before it"))
    assert "before: no such layer" in page  # of b
    assert "before it" in page


def test_names_are_escaped() -> None:
    assert "<b>" not in render_inspection(inspect_tensors({"<b>": torch.ones(2, 2)}, "<b>"))
