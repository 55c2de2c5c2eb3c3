"""Numbers that follow from the measurements of runs."""

from dataclasses import replace

import pytest
from finished_runs import GROUP, RUN, measured

from tinyml.measure.measurement import Measurement
from tinyml.report.run_facts import bits_per_weight, score_of
from tinyml.verification import Check, Verification


def test_bits_count_all_that_is_stored_but_the_graph() -> None:
    assert bits_per_weight(measured(size=1100, graph=100, parameters=1000)) == 8
    assert bits_per_weight(measured(size=350, graph=100, parameters=1000)) == 2


@pytest.mark.parametrize("counted", [{}, {"parameters": 0}], ids=["not counted", "none there"])
def test_without_parameters_there_are_no_bits(counted: dict[str, float]) -> None:
    found = measured(size=1100, graph=100, parameters=1)
    parameters = {name: replace(found[name], value=value) for name, value in counted.items()}
    assert bits_per_weight({"size_bytes": found["size_bytes"], **parameters}) is None


def test_a_size_is_a_share_of_the_runs_own_baseline() -> None:
    assert RUN.size_share == 350 / 4100


def test_points_are_those_of_the_paired_difference() -> None:
    assert RUN.points == pytest.approx(-2)
    assert RUN.points_interval == pytest.approx((-3, -1))


def test_an_area_under_the_curve_has_points_without_an_interval() -> None:
    before, after = ({"auc": Measurement(metric="auc", value=value, unit="share")} for value in (0.9, 0.85))
    run = replace(RUN, before=before, after=after)
    assert (run.points, run.points_interval) == (pytest.approx(-5), None)


def test_without_a_score_there_are_no_points() -> None:
    assert score_of(measured(size=1, graph=0, parameters=1)) is None
    assert replace(RUN, after=measured(size=1, graph=0, parameters=1)).points is None


def test_gates_and_agreement_come_from_the_checks() -> None:
    checks = (
        Check(name="same answer as the torch model", value="98.00% of 100", outcome="passed"),
        Check(name="accuracy budget", value="3 points lost", outcome="failed"),
    )
    run = replace(RUN, verification=Verification(checks=checks))
    assert (run.agreement, run.gates) == ("98.00% of 100", "FAILED: accuracy budget")
    assert (RUN.agreement, RUN.gates) == ("", "passed")


def test_a_group_is_called_by_its_network_and_data() -> None:
    assert GROUP.name == "net (weights 12345678) on digits, test split"
    assert replace(GROUP, data="").name == "net (weights 12345678)"
