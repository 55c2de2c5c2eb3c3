from tinyml.measure.measurement import Measurement
from tinyml.report.ledger import ledger_rows
from tinyml.report.report import LedgerRow


def size(**kinds: int) -> Measurement:
    details = {"files": 1, **kinds}
    return Measurement(metric="size_bytes", value=sum(kinds.values()), unit="bytes", details=details)


def test_kinds_of_either_side_have_a_row_and_the_graph_comes_last() -> None:
    assert ledger_rows(size(weights=8, graph=5), size(masks=1, weights=2, graph=6)) == (
        LedgerRow(kind="weights", before_bytes=8, after_bytes=2),
        LedgerRow(kind="masks", before_bytes=0, after_bytes=1),
        LedgerRow(kind="graph", before_bytes=5, after_bytes=6),
    )
