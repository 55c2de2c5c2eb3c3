import pytest

from tinyml.measure.measurement import Measurement
from tinyml.measure.wording import spoken, spoken_bytes, spoken_difference


@pytest.mark.parametrize(
    ("measurement", "words"),
    [
        (Measurement(metric="m", value=0.8766, unit="share", interval=(0.8672, 0.8854), n=5000),
         "87.66 % [86.72, 88.54] n = 5,000"),
        (Measurement(metric="m", value=1.5234, unit="ms", interval=(1.51, 1.54)), "1.523 ms [1.510, 1.540]"),
        (Measurement(metric="m", value=40_551_040, unit="MACs"), "40.55 M"),
        (Measurement(metric="m", value=269_722, unit="parameters"), "269,722"),
        (Measurement(metric="m", value=1, unit="MACs", not_counted=("Einsum",)), "1 + what is not counted"),
        (Measurement(metric="m", value=1536, unit="bytes"), "1.50 KiB"),
    ],
    ids=["share", "time", "millions", "thousands", "incomplete", "bytes"],
)  # fmt: skip
def test_a_measurement_reads(measurement, words):
    assert spoken(measurement) == words


@pytest.mark.parametrize(("size", "words"), [(1023, "1023 bytes"), (1024, "1.00 KiB"), (3 * 2**29, "1.50 GiB")])
def test_bytes_read(size, words):
    assert spoken_bytes(size) == words


def test_a_difference_of_shares_is_said_in_points_with_its_counts():
    measured = Measurement(
        metric="accuracy_difference", value=-0.0025, unit="share", interval=(-0.012, 0.007), n=400,
        details={"gained": 3, "lost": 4},
    )  # fmt: skip
    assert spoken_difference(measured) == "-0.25 points [-1.20, +0.70], paired: 3 gained, 4 lost"
