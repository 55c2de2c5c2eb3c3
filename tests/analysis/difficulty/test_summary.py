"""What is said of examples, by hand."""

import io
import json

import numpy as np
import pytest

from tinyml.analysis.difficulty.examples import Examples, depths_file
from tinyml.analysis.difficulty.exits import ExitPlace
from tinyml.analysis.difficulty.summary import (
    DepthRow,
    Margins,
    ProbedLayer,
    Summary,
    c_score_summary,
    split_summary,
)

# Three probes of five examples; the last is never agreed on.
EXAMPLES = Examples(
    source="five",
    indices=np.array([3, 4, 5, 8, 9]),
    labels=np.array([0, 0, 1, 1, 1]),
    predictions=np.array([0, 0, 1, 0, 1]),
    margins=np.array([4, 2, 3, 1, 0.5], dtype=np.float32),
    probes=np.array([[0, 0, 0, 0, 1], [0, 0, 1, 0, 1], [0, 0, 1, 0, 0]]),
)


def test_depths_rows_and_probes() -> None:
    summary = split_summary(EXAMPLES)
    assert EXAMPLES.depths.tolist() == [0, 0, 1, 0, 3]
    assert summary.depths == (
        DepthRow(n=3, right=2, margins=Margins(low=1.5, median=2, high=3)),
        DepthRow(n=1, right=1, margins=Margins(low=3, median=3, high=3)),
        DepthRow(n=0, right=0, margins=None),
        DepthRow(n=1, right=1, margins=Margins(low=0.5, median=0.5, high=0.5)),
    )
    assert (summary.right, summary.n, summary.probes) == (4, 5, (0.6, 0.8, 0.6))


def test_c_scores_by_depth() -> None:
    scores = np.array([1, 0.5, 0.5, np.nan, 0])
    found = c_score_summary(scores, EXAMPLES, runs=9, epochs=2)
    assert found.by_depth == (0.75, 0.5, None, 0)
    assert found.rank_correlation == pytest.approx(-3.75 / 4.5)  # ranks 4, 2.5, 2.5, 1 and 1.5, 1.5, 3, 4
    assert (found.n, c_score_summary(np.ones(5), EXAMPLES, runs=9, epochs=2).rank_correlation) == (4, None)


def test_json_holds_everything() -> None:
    summary = Summary(
        model="net",
        data="five",
        neighbours=3,
        metric="cosine",
        side=1,
        layers=(ProbedLayer(name="(input)", features=4),),
        splits={"train": split_summary(EXAMPLES)},
        exits=(ExitPlace(name="layer1", probe=1, decided=0.5, macs=0.25),),
        c_score=c_score_summary(np.ones(5), EXAMPLES, runs=9, epochs=2),
    )
    assert Summary.from_json(json.loads(json.dumps(summary.to_json()))) == summary


def test_the_file_of_depths_has_each_example() -> None:
    with np.load(io.BytesIO(depths_file({"train": EXAMPLES}, np.zeros(5)))) as arrays:
        assert arrays["train_depth"].tolist() == [0, 0, 1, 0, 3]
        assert arrays["train_indices"].tolist() == [3, 4, 5, 8, 9]
        assert sorted(arrays) == sorted(
            ["train_c_score", *(f"train_{name}" for name in "indices depth prediction label margin probes".split())]
        )


def test_the_same_examples_give_the_same_bytes() -> None:
    assert depths_file({"train": EXAMPLES}, None) == depths_file({"train": EXAMPLES}, None)
