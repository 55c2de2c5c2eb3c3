"""Pictures of score against cost."""

from dataclasses import replace

from finished_runs import GROUP, RUN, measured, scored

from tinyml.report.trade_off import trade_offs

# Larger and worse than RUN: not on the front.
WORSE = replace(RUN, number=2, kind="linear", after={**measured(size=1100, graph=100, parameters=1000), **scored(0.5)})
BOTH = replace(GROUP, runs=(RUN, WORSE))


def test_each_kind_is_a_series_of_dots_with_the_runs_numbers() -> None:
    size, _ = trade_offs(BOTH)
    assert [(line.name, line.labels, line.joined) for line in size.series[1:]] == [
        ("baseline", ("0",), False),
        ("k-means", ("1",), False),
        ("linear", ("2",), False),
    ]


def test_the_front_joins_what_nothing_beats() -> None:
    size, bits = (chart.series[0] for chart in trade_offs(BOTH))
    assert (size.name, size.x, size.y) == ("Pareto front", (350 / 1024, 4100 / 1024), (88, 90))
    assert (bits.x, bits.y) == ((2, 32), (88, 90))


def test_runs_without_a_score_are_not_drawn() -> None:
    unscored = replace(WORSE, after=measured(size=1, graph=0, parameters=1))
    size, _ = trade_offs(replace(GROUP, runs=(RUN, unscored)))
    assert [line.name for line in size.series] == ["Pareto front", "baseline", "k-means"]
    assert trade_offs(replace(GROUP, runs=(unscored,))) == ()
