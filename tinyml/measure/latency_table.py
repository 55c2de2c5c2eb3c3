"""A table of measured latencies of single layers, which tells how long a network would take without building it.

Every layer is opened in onnxruntime by itself and timed by the interleaved timer beside a reference layer. An entry is

    latency_ms = reference_ms * (layer now / reference now)        each the least median of its blocks

so that entries of a busy hour and of a quiet one compare: reference_ms is that of the table's first run, and what else
runs on the machine only adds. The sum over a network leaves out what is no layer: it ranks networks, it measures none.

Choices want steadier figures than reports: on one CPU thread the clock is that thread's processor time, which on an
idle machine is the latency and on a busy one leaves out what others ran in between. The share that one ResNet-18 has
of another's latency, four times on such a machine: 0.61 to 0.65 by the wall clock, 0.629 to 0.632 by this one.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, final

import numpy as np

from tinyml.measure.layer_shapes import LayerShape, one_layer_network
from tinyml.progress import Progress
from tinyml.runtime.session import CPU, open_session
from tinyml.runtime.timer import Call, Clock, TimerSettings, time_interleaved

Stopwatch = Callable[[Sequence[LayerShape]], Sequence[float]]
"""Returns the milliseconds that each layer takes, all of them measured side by side."""

REFERENCE: Final = LayerShape(
    operator="Conv", input=(64, 16, 16), weight=(64, 64, 3, 3), strides=(1, 1), pads=(1, 1, 1, 1), dilations=(1, 1)
)
"""What every entry was timed beside: 9.4 million MACs."""

_TOGETHER: Final = 16  # layers timed in one interleaved run
_QUICK: Final = TimerSettings(
    rounds=6, block=4, seconds=4.0, minimum_rounds=4, minimum_warm_up_seconds=0.005, warm_up_seconds=0.2, settled=0.1
)


@final
class LatencyTable:
    """Latencies of layers, measured when they are first asked for.

    Attributes:
        reference_ms: of the reference layer in the first run; 0 before it.
        entries: milliseconds by the words of a layer's shape.
    """

    def __init__(self, stopwatch: Stopwatch) -> None:
        self._stopwatch = stopwatch
        self.reference_ms = 0.0
        self.entries: dict[str, float] = {}

    def replace(self, *, reference_ms: float, entries: Mapping[str, float]) -> None:
        """Make the table what an earlier one was."""
        self.reference_ms, self.entries = reference_ms, dict(entries)

    def measure(self, shapes: Iterable[LayerShape], progress: Progress) -> None:
        """Add those of the layers that are not in the table yet."""
        missing = list({str(shape): shape for shape in shapes if str(shape) not in self.entries}.values())
        for start in range(0, len(missing), _TOGETHER):
            progress.status(f"timing layers: {len(self.entries)} in the table")
            some = missing[start : start + _TOGETHER]
            reference, *times = self._stopwatch([REFERENCE, *some])
            self.reference_ms = self.reference_ms or reference
            speed = self.reference_ms / reference
            self.entries |= {str(shape): time * speed for shape, time in zip(some, times, strict=True)}

    def latency_ms(self, shapes: Iterable[LayerShape]) -> float:
        """Return the sum over layers that were measured."""
        return sum(self.entries[str(shape)] for shape in shapes)


@final
@dataclass(frozen=True, kw_only=True)
class RuntimeSettings:
    """How networks run: onnxruntime's execution provider, and threads inside an operator."""

    provider: str
    threads: int


def steady_clock(runtime: RuntimeSettings) -> Clock:
    """Return the clock that leaves out what else the machine runs, where there is one, else the wall clock."""
    return time.thread_time_ns if runtime.provider == CPU and runtime.threads == 1 else time.perf_counter_ns


def runtime_stopwatch(runtime: RuntimeSettings) -> Stopwatch:
    """Return a stopwatch that runs each layer by itself in onnxruntime.

    Raises:
        TargetError: the provider is not here.
    """
    return partial(_time_layers, runtime)


def _time_layers(runtime: RuntimeSettings, shapes: Sequence[LayerShape]) -> list[float]:
    calls = {str(number): _call(shape, runtime) for number, shape in enumerate(shapes)}
    timing = time_interleaved(calls, settings=_QUICK, clock=steady_clock(runtime))
    return [float(np.median(timing.samples_ms[name], axis=1).min()) for name in calls]


def _call(shape: LayerShape, runtime: RuntimeSettings) -> Call:
    session = open_session(one_layer_network(shape), provider=runtime.provider, threads=runtime.threads)
    x = np.random.default_rng(0).standard_normal((1, *shape.input), dtype=np.float32)
    return lambda _: session.run(x)
