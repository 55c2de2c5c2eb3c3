"""What a file costs and how good it is: measured on the ONNX file that ships, in the runtime it ships to."""

from tinyml.measure.measurement import Measurement, Measurements, from_json, to_json
from tinyml.measure.suite import measure, measure_files
from tinyml.measure.table import METRICS, Metric

__all__ = [
    "METRICS",
    "Measurement",
    "Measurements",
    "Metric",
    "from_json",
    "measure",
    "measure_files",
    "to_json",
]
