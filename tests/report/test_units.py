"""Numbers as text."""

import pytest

from tinyml.report.units import (
    bytes_text,
    count_text,
    milliseconds_text,
    number_text,
    points_text,
    range_text,
    ratio_text,
    share_text,
    significant,
)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0, "0"), (1, "1.00"), (12.34, "12.3"), (1234, "1,230"), (0.01234, "0.0123"), (-2.5, "-2.50")],
)
def test_numbers_have_three_digits(value: float, expected: str) -> None:
    assert significant(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"), [(512, "512 B"), (1536, "1.50 KiB"), (2**20, "1.00 MiB"), (3 * 2**30, "3.00 GiB")]
)
def test_bytes_have_binary_units(value: float, expected: str) -> None:
    assert bytes_text(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"), [(269722, "269,722"), (40551040, "40.6 M"), (1.8e9, "1.80 G")], ids=["exact", "M", "G"]
)
def test_counts_are_exact_until_ten_millions(value: float, expected: str) -> None:
    assert count_text(value) == expected


@pytest.mark.parametrize(("value", "expected"), [(1.234, "1.23 ms"), (0.085, "85.0 µs")])
def test_short_times_are_microseconds(value: float, expected: str) -> None:
    assert milliseconds_text(value) == expected


@pytest.mark.parametrize(("n", "expected"), [(500, "91.2 %"), (5000, "91.23 %"), (None, "91.2 %")])
def test_a_share_has_the_decimals_its_examples_are_worth(n: int | None, expected: str) -> None:
    assert share_text(0.91234, n) == expected


@pytest.mark.parametrize(
    ("ratio", "expected"),
    [(3.6, "3.6x smaller"), (1.62, "1.62x smaller"), (0.5, "2.0x larger"), (1.001, "same"), (0.999, "same")],
)
def test_a_ratio_is_named_by_its_direction(ratio: float, expected: str) -> None:
    assert ratio_text(ratio, "smaller", "larger") == expected


@pytest.mark.parametrize(
    ("difference", "n", "expected"),
    [(-0.002, 5000, "-0.20 points"), (0.01, 100, "+1.0 points"), (-0.00001, 5000, "0 points")],
    ids=["a loss", "a gain", "nothing"],
)
def test_points_carry_their_sign(difference: float, n: int, expected: str) -> None:
    assert points_text(difference, n) == expected


@pytest.mark.parametrize(
    ("low", "high", "expected"), [(1.2, 1.3, "1.20 to 1.30 ms"), (0.09, 0.2, "90.0 µs to 0.200 ms")]
)
def test_a_range_writes_a_shared_unit_once(low: float, high: float, expected: str) -> None:
    assert range_text(low, high, "ms") == expected


def test_an_unknown_unit_stands_behind_the_number() -> None:
    assert number_text(3, "mJ") == "3.00 mJ"
