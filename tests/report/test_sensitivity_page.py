"""The page and the table of a scan."""

from dataclasses import replace

import pytest

from tinyml.analysis.sensitivity.budget import choose_sparsities
from tinyml.analysis.sensitivity.curves import LayerCurve, Sensitivity
from tinyml.graph.capture import LeftAlone
from tinyml.report.sensitivity_page import render_sensitivity, sensitivity_columns, sensitivity_rows, unchanged_text

CURVES = tuple(
    LayerCurve(name=f"layer{index}", size=100, levels=(0.5, 0.9), scores=(0.9, 0.1 * index)) for index in range(8)
)
SCAN = Sensitivity(
    model="net",
    pass_name="weight_pruning",
    quantity="sparsity",
    score="accuracy",
    unchanged=0.9,
    n=200,
    data="noise, validation",
    curves=CURVES,
)


def test_a_row_has_a_score_a_level_and_the_choice() -> None:
    choice = choose_sparsities(SCAN, 0.5)
    assert sensitivity_columns(SCAN, choice) == ["layer", "weights", "50 %", "90 %", "chosen"]
    assert sensitivity_rows(SCAN, choice)[3] == ["layer3", "100", "90.0 %", "30.0 %", "50 %"]


def test_bits_are_called_so() -> None:
    curve = replace(CURVES[0], levels=(8, 2))
    bits = replace(SCAN, quantity="bits", pass_name="linear_quantization", curves=(curve,))
    assert sensitivity_columns(bits, None) == ["layer", "weights", "8 bit", "2 bit"]
    assert "bits of a weight" in render_sensitivity(bits)


def test_an_accuracy_has_its_interval_and_an_auc_none() -> None:
    assert unchanged_text(SCAN) == "accuracy 90.0 %, n = 200, 95 % interval 85.1 to 93.4 %"
    assert unchanged_text(replace(SCAN, score="AUC")) == "AUC 0.9000, n = 200"


def test_the_page_has_a_chart_for_each_layer_and_one_of_the_lowest() -> None:
    page = render_sensitivity(SCAN)
    assert page.count("<svg") == len(CURVES) + 1
    assert "Levels for a budget" not in page


@pytest.mark.parametrize("hostile", ["<script>alert(1)</script>", "a&b"])
def test_names_are_escaped(hostile: str) -> None:
    scan = replace(
        SCAN,
        model=hostile,
        curves=(replace(CURVES[0], name=hostile),),
        left_alone=(LeftAlone(module=hostile, reason=hostile),),
    )
    assert hostile not in render_sensitivity(
        scan, recipe_yaml=hostile, command=hostile, choice=choose_sparsities(scan, 0.5)
    )
