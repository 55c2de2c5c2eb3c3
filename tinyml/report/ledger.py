"""The ledger: where the bytes of the file went, by kind of content, before and after."""

from collections.abc import Mapping

from tinyml.measure.ledger import GRAPH
from tinyml.measure.measurement import Measurement
from tinyml.measure.size import FILES
from tinyml.report.report import LedgerRow


def ledger_rows(before: Measurement, after: Measurement) -> tuple[LedgerRow, ...]:
    """Return a row for each kind of content, the graph last, from two measurements of `size_bytes`."""
    sides = [_by_kind(before), _by_kind(after)]
    kinds = [kind for kind in dict.fromkeys([*sides[0], *sides[1]]) if kind != GRAPH]
    return tuple(
        LedgerRow(kind=kind, before_bytes=sides[0].get(kind, 0), after_bytes=sides[1].get(kind, 0))
        for kind in (*kinds, GRAPH)
    )


def _by_kind(size: Measurement) -> Mapping[str, int]:
    """Return the bytes by kind."""
    return {kind: value for kind, value in size.details.items() if kind != FILES and isinstance(value, int)}
