"""Places for exits, against every choice there is."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tinyml.analysis.difficulty.exits import ExitPlace, exit_places, macs_saved, ranked_exits
from tinyml.analysis.difficulty.places import reader_of
from tinyml.graph.cut_points import find_cut_points
from tinyml.models import create_model


def place(decided: float, macs: float) -> ExitPlace:
    return ExitPlace(name=f"{decided}-{macs}", probe=0, decided=decided, macs=macs)


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 19)), min_size=1, max_size=7))
def test_each_next_place_saves_most_with_those_before(raw: list[tuple[int, int]]) -> None:
    decided, macs = (sorted(each) for each in zip(*raw, strict=True))
    places = [place(share / 20, cost / 20) for share, cost in zip(decided, macs, strict=True)]
    ranked = ranked_exits(places)
    assert sorted(ranked, key=places.index) == places
    for count, best in enumerate(ranked):
        before = ranked[:count]
        assert macs_saved([*before, best]) == max(macs_saved([*before, other]) for other in ranked[count:])


def test_what_exits_save_is_counted_once() -> None:
    first, second = place(0.5, 0.25), place(0.75, 0.5)
    assert macs_saved([first, second]) == macs_saved([second, first]) == 0.5 * 0.75 + 0.25 * 0.5


def test_an_exit_knows_what_the_probes_up_to_it_have_decided() -> None:
    reader = reader_of(create_model("lenet-digits", {}), (1, 8, 8))
    depths = np.array([0, 0, 1, 1, 2, 3, 4, 4])
    assert reader.graph is not None
    found = exit_places(reader.graph, (1, 8, 8), reader.places, depths)  # conv1, conv2, linear1, output
    cuts = find_cut_points(reader.graph, (1, 8, 8))
    assert [each.name for each in found] == [cut.name for cut in cuts]
    assert [(each.probe, each.decided) for each in found] == [(0, 2 / 8), (1, 4 / 8)]
    assert [each.macs for each in found] == [cut.share for cut in cuts]


def test_nothing_is_chosen_of_nothing() -> None:
    assert ranked_exits([]) == ()
    assert macs_saved([]) == 0
