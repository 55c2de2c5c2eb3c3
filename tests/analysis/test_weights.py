"""Histograms of weights: counts that a reader can make by hand."""

import json
from dataclasses import asdict

import numpy as np
import pytest

from tinyml.analysis.onnx_weights import LayerWeights
from tinyml.analysis.weights import HistogramPair, histogram_pairs


def layer(values: list[float] | np.ndarray, stored: list[int] | None = None) -> LayerWeights:
    array = np.asarray(values, dtype=np.float32)
    return LayerWeights(
        name="conv1",
        operator="Conv",
        values=array,
        stored=array if stored is None else np.asarray(stored, dtype=np.int8),
    )


def pair(before: LayerWeights | None, after: LayerWeights | None) -> HistogramPair:
    sides = [{"conv1": side} if side else {} for side in (before, after)]
    return histogram_pairs(*sides)[0]


def test_bins_are_shared_and_cover_both_sides() -> None:
    result = pair(layer([0, 1, 2, 8]), layer([0, 0, 4]))
    assert result.edges == (0, 1, 2, 3, 4, 5, 6, 7, 8)
    assert result.before.counts == (1, 1, 1, 0, 0, 0, 0, 1)
    assert result.after.counts == (2, 0, 0, 0, 1, 0, 0, 0)


def test_every_weight_is_in_one_bin() -> None:
    values = np.random.default_rng(0).normal(size=1000)
    assert sum(pair(layer(values), None).before.counts) == 1000


def test_zeros_are_a_share_of_the_weights() -> None:
    assert pair(layer([1, 2, 3, 4]), layer([0, 0, 0, 4])).after.zeros == 0.75


def test_distinct_values_are_counted_before_the_scales() -> None:
    scaled_per_channel = layer([0.5, 1.0, 3.0, 6.0], stored=[1, 2, 1, 2])
    assert pair(None, scaled_per_channel).after.distinct == 2


def test_packed_codes_count_the_values_they_unpack_to() -> None:
    packed = layer([0.5] * 4, stored=[17, 33])
    assert pair(None, packed).after.distinct == 1


@pytest.mark.parametrize(("side", "stored"), [("before", "float32"), ("after", "int8")])
def test_the_stored_type_is_named(side: str, stored: str) -> None:
    assert getattr(pair(layer([1.0]), layer([1.0], stored=[3])), side).stored == stored


def test_a_layer_that_only_one_file_has_leaves_the_other_side_empty() -> None:
    result = histogram_pairs({"old": layer([1, 2])}, {"new": layer([3, 4])})
    assert [item.name for item in result] == ["old", "new"]
    assert result[0].after.counts == result[1].before.counts == ()


@pytest.mark.parametrize("values", [[0.0] * 9, [7.0] * 9], ids=["all zero", "constant"])
def test_a_constant_layer_has_its_value_inside_the_edges(values: list[float]) -> None:
    result = pair(layer(values), None)
    assert result.edges[0] < values[0] < result.edges[-1]
    assert sum(result.before.counts) == 9


def test_values_that_are_not_finite_are_in_no_bin() -> None:
    assert sum(pair(layer([1, 2, float("nan"), float("inf")]), None).before.counts) == 2


def test_an_empty_layer_has_no_weights() -> None:
    assert pair(layer([]), None).before.weights == 0


@pytest.mark.parametrize(("weights", "bins"), [(4, 8), (400, 20), (100_000, 64)], ids=["few", "some", "many"])
def test_bins_grow_with_the_square_root_and_are_capped(weights: int, bins: int) -> None:
    assert len(pair(layer(np.arange(weights)), None).edges) == bins + 1


def test_a_pair_is_plain_json() -> None:
    assert json.loads(json.dumps(asdict(pair(layer([1]), layer([2])))))["name"] == "conv1"
