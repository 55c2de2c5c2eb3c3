import json
import math

import pytest

from tinyml.errors import CheckpointError
from tinyml.measure.measurement import Measurement, from_json, to_json

FULL = Measurement(
    metric="latency_ms", value=1.5, unit="ms", interval=(1.4, 1.6), n=3, samples=(1.4, 1.5, 1.6),
    details={"threads": 1, "cpu": "Ä", "p50_ms": 1.5}, not_counted=("p99: too few",), estimated=True,
)  # fmt: skip
BARE = Measurement(metric="macs", value=12, unit="MACs")


@pytest.mark.parametrize("measurement", [FULL, BARE], ids=["all fields", "required fields"])
def test_json_gives_the_same_measurement_back(measurement):
    text = json.dumps(to_json({"model": {measurement.metric: measurement}}))
    assert from_json(json.loads(text)) == {"model": {measurement.metric: measurement}}


def test_whole_numbers_stay_whole():
    assert json.dumps(BARE.to_json()) == '{"metric": "macs", "value": 12, "unit": "MACs"}'


def test_no_examples_is_not_the_same_as_unknown():
    assert Measurement.from_json(Measurement(metric="m", value=0, unit="x", n=0).to_json()).n == 0


@pytest.mark.parametrize(
    "broken",
    [{"value": math.nan}, {"value": math.inf}, {"interval": (0.0, math.nan)}, {"details": {"mean": math.nan}}],
    ids=["NaN", "infinity", "in the interval", "in the details"],
)
def test_what_json_cannot_say_is_refused(broken):
    with pytest.raises(ValueError, match="'m' holds a number that is not finite"):
        Measurement(**({"metric": "m", "value": 1.0, "unit": "ms"} | broken)).to_json()


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"metric": "m", "value": 1}, "no 'unit'"),
        ({"metric": "m", "value": 1, "unit": "ms", "colour": 1}, "an unknown 'colour'"),
        ({"metric": "m", "value": "1", "unit": "ms"}, "'1' where a number"),
        ({"metric": "m", "value": True, "unit": "ms"}, "True where a number"),
        ({"metric": "m", "value": 1, "unit": "ms", "interval": [1]}, "where two numbers"),
        ({"metric": "m", "value": 1, "unit": "ms", "samples": 3}, "where a list"),
        ({"metric": "m", "value": 1, "unit": "ms", "details": []}, "where an object"),
    ],
    ids=["missing", "unknown", "text", "bool", "half an interval", "no list", "no object"],
)
def test_a_wrong_file_is_refused(facts, message):
    with pytest.raises(CheckpointError, match=message):
        from_json({"model": {"m": facts}})


def test_another_json_is_refused():
    with pytest.raises(CheckpointError, match="not objects"):
        from_json({"model": [1, 2]})
