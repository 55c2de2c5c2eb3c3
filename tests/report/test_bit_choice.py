"""Bits chosen for a budget, on the page and in the table."""

from dataclasses import replace

import pytest

from tinyml.analysis.sensitivity.bits import Budget, ByteBudget, DropBudget, choose_bits
from tinyml.analysis.sensitivity.curves import FileBytes, LayerCurve, Sensitivity
from tinyml.report.bit_choice import bit_choice_text, layer_rows, uniform_rows
from tinyml.report.sensitivity_page import render_sensitivity, sensitivity_columns, sensitivity_rows

CURVE = LayerCurve(
    name="stem",
    size=100,
    levels=(8, 2),
    scores=(0.9, 0.8),
    divergences=(0.0, 0.5),
    stored_bytes=(1000, 250),
    constants=((), (0,)),
)
SCAN = Sensitivity(
    model="net",
    pass_name="linear_quantization",
    quantity="bits",
    score="accuracy",
    unchanged=0.9,
    n=200,
    data="noise, validation",
    curves=(CURVE, replace(CURVE, name="head")),
    file=FileBytes(target="x86-avx2", rest=3000, constants=(40,)),
)
CHOICE = choose_bits(SCAN, ByteBudget(most_bytes=4500))


@pytest.mark.parametrize(
    ("budget", "asked"),
    [(ByteBudget(most_bytes=4500), "At most 4,500 bytes: "), (DropBudget(most_drop=0.1), "At most 10 points lost: ")],
)
def test_the_words_name_budget_prediction_and_the_same_bits_for_all(budget: Budget, asked: str) -> None:
    text = bit_choice_text(SCAN, choose_bits(SCAN, budget))
    assert text.startswith(f"{asked}4,290 bytes and -10.0 points by prediction")
    assert "8 bits for all layers: 5,000 bytes and 0 points by prediction" in text
    assert "x86-avx2" in text


def test_a_layer_has_its_bits_bytes_and_what_it_loses_alone() -> None:
    assert layer_rows(SCAN, CHOICE) == [
        ["stem", "100", "2", "250", "0.500", "-10.0 points"],
        ["head", "100", "8", "1,000", "0", "0 points"],
    ]


def test_the_choice_stands_before_the_same_bits_for_all() -> None:
    assert uniform_rows(SCAN, CHOICE) == [
        ["by layer", "4,290", "0.500", "-10.0 points"],
        ["8 for all", "5,000", "0", "0 points"],
        ["2 for all", "3,540", "1.00", "at least -10.0 points"],
    ]


def test_the_page_has_a_bar_for_each_layer_and_both_tables() -> None:
    page = render_sensitivity(SCAN, choice=CHOICE, recipe_yaml="version: 1")
    assert page.count("<svg") == len(SCAN.curves) + 2
    assert "Bits of a weight" in page
    assert "8 for all" in page
    assert sensitivity_columns(SCAN, CHOICE)[-1] == "chosen"
    assert [row[-1] for row in sensitivity_rows(SCAN, CHOICE)] == ["2 bit", "8 bit"]
