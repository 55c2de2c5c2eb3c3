"""A finished run and its group, as numbers that a reader can follow."""

from tinyml.measure.measurement import Measurement
from tinyml.report.run_facts import RunFacts, RunGroup
from tinyml.verification import Verification


def measured(*, size: float, graph: int, parameters: float) -> dict[str, Measurement]:
    """Return what every run measures of a file, without a score."""
    return {
        "size_bytes": Measurement(metric="size_bytes", value=size, unit="bytes", details={"files": 1, "graph": graph}),
        "parameters": Measurement(metric="parameters", value=parameters, unit="parameters"),
        "latency_ms": Measurement(metric="latency_ms", value=1, unit="ms", interval=(0.9, 1.1), samples=(1, 1)),
        "latency_ratio": Measurement(metric="latency_ratio", value=2, unit="x", interval=(1.9, 2.1)),
    }


def scored(value: float) -> dict[str, Measurement]:
    """Return an accuracy on 200 examples."""
    entry = Measurement(metric="accuracy", value=value, unit="share", interval=(value - 0.04, value + 0.04), n=200)
    return {"accuracy": entry}


BEFORE = {**measured(size=4100, graph=100, parameters=1000), **scored(0.9)}
LOST = Measurement(metric="accuracy_difference", value=-0.02, unit="share", interval=(-0.03, -0.01), n=200)
RUN = RunFacts(
    number=1,
    name="runs/small",
    label="small",
    recipe="kmeans2",
    passes=("kmeans_quantization bits=2",),
    kind="k-means",
    target="x86-avx2",
    before=BEFORE,
    after={**measured(size=350, graph=100, parameters=1000), **scored(0.88), "accuracy_difference": LOST},
    verification=Verification(checks=()),
)
GROUP = RunGroup(model="net", weights="12345678", data="digits, test split", before=BEFORE, runs=(RUN,))
