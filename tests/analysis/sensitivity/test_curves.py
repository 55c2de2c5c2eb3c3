"""Facts of a scan."""

import pytest

from tinyml.analysis.sensitivity.curves import Quantity, level_text


@pytest.mark.parametrize(
    ("level", "quantity", "text"),
    [
        (0.7, "sparsity", "70 %"),
        (0.7254, "sparsity", "72.54 %"),
        (1 / 3, "sparsity", "33.33 %"),
        (4.0, "bits", "4 bit"),
    ],
)
def test_levels_are_written_as_short_as_they_can_be(level: float, quantity: Quantity, text: str) -> None:
    assert level_text(level, quantity) == text
