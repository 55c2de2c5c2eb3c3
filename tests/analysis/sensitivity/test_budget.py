"""Levels for a budget, against all combinations and by hand."""

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyml.analysis.sensitivity.budget import choose_sparsities
from tinyml.analysis.sensitivity.curves import LayerCurve, Sensitivity


def scanned(*curves: tuple[int, dict[float, float]]) -> Sensitivity:
    """Layers "a", "b", ... of so many weights with scores by level; 0.9 unchanged."""
    return Sensitivity(
        model="net",
        pass_name="weight_pruning",
        quantity="sparsity",
        score="accuracy",
        unchanged=0.9,
        n=100,
        data="noise",
        curves=tuple(
            LayerCurve(name=name, size=size, levels=tuple(scores), scores=tuple(scores.values()))
            for name, (size, scores) in zip("abcd", curves, strict=False)
        ),
    )


def test_the_layer_that_loses_least_for_a_weight_goes_first() -> None:
    # 50 weights of a cost 0.1, 50 of b 0.2; all of the 40 % wanted, 80 of 200 weights: 50 of a, 30 of b
    choice = choose_sparsities(scanned((100, {0.5: 0.8}), (100, {0.5: 0.7})), 0.4)
    assert choice.levels == {"a": 0.5, "b": 0.3}
    assert choice.predicted_drop == pytest.approx(0.1 + 0.6 * 0.2)


def test_points_above_the_hull_are_passed_over() -> None:
    # a: 0.4 loses 0.2 and 0.8 loses 0.2 as well, so that b's 0.4 for 0.11 comes after a's 0.8
    choice = choose_sparsities(scanned((100, {0.4: 0.7, 0.8: 0.7}), (100, {0.4: 0.79})), 0.4)
    assert choice.levels == {"a": 0.8, "b": 0}


def test_a_score_that_rises_is_noise_and_no_gain() -> None:
    choice = choose_sparsities(scanned((100, {0.5: 0.95}), (100, {0.5: 0.9})), 0.5)
    assert choice.predicted_drop == 0


def test_the_share_asked_for_is_reached_and_not_by_much() -> None:
    sensitivity = scanned((432, {0.4: 0.8, 0.9: 0.2}), (2304, {0.4: 0.88, 0.9: 0.6}), (36864, {0.4: 0.9, 0.9: 0.8}))
    levels = choose_sparsities(sensitivity, 0.7).levels
    removed = sum(level * curve.size for curve, level in zip(sensitivity.curves, levels.values(), strict=True))
    total = sum(curve.size for curve in sensitivity.curves)
    assert 0.7 * total <= removed + 1e-9 <= 0.7 * total + 36864e-4  # one rounded level, to a ten-thousandth


SCORES = st.lists(st.integers(0, 90), min_size=3, max_size=3).map(lambda found: sorted(found, reverse=True))


@given(st.lists(st.tuples(st.integers(1, 50), SCORES), min_size=2, max_size=3), st.sampled_from([0.2, 0.5, 0.8]))
def test_no_choice_among_the_levels_promises_less(layers: list[tuple[int, list[int]]], sparsity: float) -> None:
    levels = (0.3, 0.6, 0.9)
    sensitivity = scanned(
        *((size, dict(zip(levels, [s / 100 for s in scores], strict=True))) for size, scores in layers)
    )
    choice = choose_sparsities(sensitivity, sparsity)
    options = [
        [(0.0, 0.0), *zip(curve.levels, (0.9 - s for s in curve.scores), strict=True)] for curve in sensitivity.curves
    ]
    goal = sparsity * sum(size for size, _ in layers)
    for combination in product(*options):
        if sum(level * size for (level, _), (size, _) in zip(combination, layers, strict=True)) >= goal - 1e-9:
            assert choice.predicted_drop <= sum(lost for _, lost in combination) + 1e-9


def test_a_layer_that_is_pruned_already_keeps_its_zeros() -> None:
    sensitivity = scanned((100, {0.4: 0.9, 0.9: 0.5}), (100, {0.4: 0.9, 0.9: 0.8}))
    first = replace(sensitivity.curves[0], start=0.55)
    choice = choose_sparsities(replace(sensitivity, curves=(first, sensitivity.curves[1])), 0.5)
    assert choice.levels == {"a": 0.55, "b": 0.45}  # 100 of 200 weights
    assert choice.predicted_drop == pytest.approx(0.1 * 0.05 / 0.5)
