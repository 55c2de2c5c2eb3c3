"""The page and the table of a run, and its galleries."""

from dataclasses import replace

import numpy as np
import pytest

from tinyml.analysis.difficulty.examples import Examples
from tinyml.analysis.difficulty.exits import ExitPlace
from tinyml.analysis.difficulty.summary import CScoreSummary, ProbedLayer, Summary, split_summary
from tinyml.data import Split
from tinyml.graph.capture import LeftAlone
from tinyml.report.difficulty_page import (
    c_score_text,
    exits_text,
    layer_columns,
    layer_rows,
    overview_text,
    render_difficulty,
)
from tinyml.report.gallery import CLASSES_SHOWN, galleries
from tinyml.report.png import png_address

CLASSES = ("cat", "dog")
# Two probes of eight examples: depths 0, 0, 0, 1, 1, 1, 2, 2.
EXAMPLES = Examples(
    source="eight",
    indices=np.arange(10, 18),
    labels=np.array([0, 1, 0, 1, 0, 1, 0, 1]),
    predictions=np.array([0, 1, 0, 1, 0, 0, 0, 0]),
    margins=np.array([1, 2, 3, 4, 5, 6, 7, 8], dtype=np.float32),
    probes=np.array([[0, 1, 0, 0, 1, 1, 0, 0], [0, 1, 0, 1, 0, 0, 1, 1]]),
)
SUMMARY = Summary(
    model="net",
    data="noise",
    neighbours=3,
    metric="euclidean",
    side=2,
    layers=(ProbedLayer(name="(input)", features=12), ProbedLayer(name="(output)", features=2)),
    splits={"train": split_summary(EXAMPLES)},
)
IMAGES = Split(
    x=np.arange(18, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 3), np.uint8),
    y=np.zeros(18, int),
    source="x",
)


def test_a_row_says_who_was_decided_there_and_how_right_they_are() -> None:
    assert layer_columns(SUMMARY)[:4] == ["depth", "layer", "features", "train: probe right"]
    assert [row[:6] for row in layer_rows(SUMMARY)] == [
        ["0", "(input)", "12", "62.5 %", "3 (37.5 %)", "100.0 %"],
        ["1", "(output)", "2", "75.0 %", "3 (37.5 %)", "66.7 %"],
        ["2", "no probe", "-", "-", "2 (25.0 %)", "50.0 %"],
    ]


def test_the_middle_of_the_depths_is_named() -> None:
    assert "accuracy 75.0 %, n = 8" in overview_text(SUMMARY)
    assert "median depth 1 of 2 probes ((output))" in overview_text(SUMMARY)


def test_exits_and_c_scores_are_told_where_there_are_some() -> None:
    assert (exits_text(SUMMARY), c_score_text(SUMMARY)) == ("", "")
    exits = (ExitPlace(name="layer1", probe=0, decided=0.375, macs=0.2),)
    score = CScoreSummary(runs=9, epochs=2, n=8, rank_correlation=-0.5, by_depth=(1.0, None, 0.5))
    summary = replace(SUMMARY, exits=exits, exits_from="train", c_score=score)
    assert "layer1 (37.5 % decided after 20.0 % of the MACs)" in exits_text(summary)
    assert "would save 30.0 % of the MACs" in exits_text(summary)
    assert "37.5 % are decided by the input alone (depth 0)" in exits_text(summary)
    assert "prediction depth -0.500" in c_score_text(summary)
    assert render_difficulty(summary).count("<svg") == render_difficulty(SUMMARY).count("<svg") + 1


@pytest.mark.parametrize("hostile", ["<script>alert(1)</script>", "a&b"])
def test_names_are_escaped(hostile: str) -> None:
    layers = (ProbedLayer(name=hostile, features=1), SUMMARY.layers[1])
    left = (LeftAlone(module=hostile, reason=hostile),)
    summary = replace(SUMMARY, model=hostile, data=hostile, layers=layers, left_alone=left, notes=(hostile,))
    pictures = galleries(EXAMPLES, IMAGES, (hostile, hostile))
    assert hostile not in render_difficulty(summary, pictures=pictures, no_pictures=hostile, command=hostile)


def test_a_network_that_is_one_layer_has_a_name_where_it_is_not_probed() -> None:
    page = render_difficulty(replace(SUMMARY, left_alone=(LeftAlone(module="", reason="why"),)))
    assert "<code>the whole network</code>" in page


def test_the_easiest_are_shallow_with_large_margins_and_the_hardest_the_reverse() -> None:
    cat, dog = galleries(EXAMPLES, IMAGES, CLASSES)
    assert (cat.name, dog.name) == ("cat", "dog")
    assert [each.address for each in cat.easiest] == [png_address(IMAGES.x[row]) for row in (12, 10)]
    assert [each.address for each in dog.hardest] == [png_address(IMAGES.x[row]) for row in (17, 13)]
    assert [each.caption for each in dog.hardest] == ["depth 2, taken for cat", "depth 1"]
    assert [(each.caption, each.wrong) for each in cat.easiest] == [("depth 0", False)] * 2


def test_many_classes_and_large_images_are_cut() -> None:
    labels = np.arange(CLASSES_SHOWN + 5)
    zeros = np.zeros(len(labels), dtype=np.int64)
    many = replace(
        EXAMPLES, indices=zeros, labels=labels, predictions=zeros, probes=zeros[None], margins=zeros.astype(np.float32)
    )
    large = Split(x=np.zeros((1, 200, 130, 1), np.uint8), y=np.zeros(1, int), source="x")
    found = galleries(many, large, [str(label) for label in labels])
    assert len(found) == CLASSES_SHOWN
    assert found[0].easiest[0].address == png_address(np.zeros((50, 33, 1), np.uint8))
