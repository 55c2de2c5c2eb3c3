import time
from collections.abc import Sequence

import pytest

from tinyml.measure.latency_table import REFERENCE, LatencyTable, RuntimeSettings, runtime_stopwatch, steady_clock
from tinyml.measure.layer_shapes import LayerShape
from tinyml.progress import Silent
from tinyml.runtime.session import CPU


def linear(outputs: int, inputs: int = 10) -> LayerShape:
    return LayerShape(operator="Gemm", input=(inputs,), weight=(outputs, inputs))


class Stopwatch:
    """One millisecond an output; the machine slows down by a second of them every time."""

    def __init__(self) -> None:
        self.runs: list[list[int]] = []

    def __call__(self, shapes: Sequence[LayerShape]) -> list[float]:
        self.runs.append([shape.weight[0] for shape in shapes])
        return [len(self.runs) * float(shape.weight[0]) for shape in shapes]


def test_layers_are_timed_beside_the_reference_and_entries_of_slow_hours_compare():
    table = LatencyTable(Stopwatch())
    table.measure([linear(2)], Silent())
    table.measure([linear(3)], Silent())
    assert table.reference_ms == REFERENCE.weight[0]
    assert table.latency_ms([linear(2), linear(3), linear(3)]) == 2 + 3 + 3


def test_what_is_in_the_table_is_not_timed_again():
    watch = Stopwatch()
    table = LatencyTable(watch)
    table.measure([linear(2), linear(2), linear(3)], Silent())
    table.measure([linear(3), linear(2)], Silent())
    assert watch.runs == [[64, 2, 3]]


def test_many_layers_are_timed_in_several_runs():
    watch = Stopwatch()
    LatencyTable(watch).measure([linear(outputs) for outputs in range(1, 41)], Silent())
    assert [len(run) for run in watch.runs] == [17, 17, 9]


@pytest.mark.parametrize("threads", [1, 2])
def test_a_layer_of_many_times_the_work_takes_longer(threads: int):
    runtime = RuntimeSettings(provider=CPU, threads=threads)
    small, large = runtime_stopwatch(runtime)([linear(8, 8), linear(1024, 2048)])
    assert 0 < 10 * small < large  # 30,000 times the work


def test_processor_time_is_counted_where_one_thread_of_the_cpu_does_the_work():
    assert steady_clock(RuntimeSettings(provider=CPU, threads=1)) is time.thread_time_ns
    assert steady_clock(RuntimeSettings(provider=CPU, threads=2)) is time.perf_counter_ns
    assert steady_clock(RuntimeSettings(provider="CUDAExecutionProvider", threads=1)) is time.perf_counter_ns
