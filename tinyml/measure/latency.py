"""Latency of networks, timed side by side in one interleaved run, with a copy of the baseline as A/A control."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, final

import numpy as np
from numpy.typing import NDArray

from tinyml.measure.measurement import Measurement
from tinyml.measure.statistics import Times, median_interval, percentiles, ratio_of_medians, resampled_times
from tinyml.progress import Progress
from tinyml.runtime.one_by_one import answer_each, takes_exits
from tinyml.runtime.probe import probe_machine
from tinyml.runtime.session import Session, providers_used
from tinyml.runtime.timer import Call, TimerSettings, time_interleaved

_CONTROL: Final = "A/A control"
_BETWEEN_SESSIONS: Final = 1.035
"""Least half-width of the noise band, as a ratio: where a session's buffers lie in memory is drawn once, when it is
opened, and two sessions of a 15 microsecond network differed by up to 3.3 % in 24 runs. One control cannot show it."""


@final
@dataclass(frozen=True, kw_only=True)
class Contender:
    """A network to time.

    Attributes:
        session: the network.
        inputs: its stream of inputs, one batch each; all contenders have equally many.
    """

    session: Session
    inputs: Sequence[NDArray[Any]]


@final
@dataclass(frozen=True, kw_only=True)
class LatencyRun:
    """The times of one network and of those that it was timed beside.

    Attributes:
        times: of every call.
        baseline: the same of the baseline (of itself, for the baseline).
        control: the same of the baseline's copy.
        is_baseline: whether this is the baseline.
        facts: how it was timed: threads, provider, batch, inputs, CPU, warm-up.
        taken: the exit (inputs,) that each input of the stream takes, of a network with exits; empty for others.
        baseline_taken: the same of the baseline.
    """

    times: Times
    baseline: Times
    control: Times
    is_baseline: bool
    facts: Mapping[str, float | int | str]
    taken: NDArray[np.int64]
    baseline_taken: NDArray[np.int64]


def run_latency(
    contenders: Mapping[str, Contender],
    control: Session,
    *,
    inputs_are: str,
    seed: int,
    settings: TimerSettings | None,
    progress: Progress,
) -> dict[str, LatencyRun]:
    """Time all contenders in one interleaved run; the first is the baseline, `control` a second session of it.

    Args:
        contenders: what to time, by name.
        control: the same file as the first contender, opened once more.
        inputs_are: what the inputs are, in words ("test images of digits").
        seed: of the order of the blocks and of the bootstraps.
        settings: how long and how often; without, the timer's, its shortest warm-up shared out among the contenders.
        progress: told of every round.
    """
    first = next(iter(contenders))
    calls = {name: _call(entry.session, entry.inputs) for name, entry in contenders.items()}
    calls[_CONTROL] = _call(control, contenders[first].inputs)
    timing = time_interleaved(calls, settings=settings or _settings(len(calls)), seed=seed, progress=progress)
    times = {name: resampled_times(samples, seed=seed) for name, samples in timing.samples_ms.items()}
    taken = {name: _taken(entry) for name, entry in contenders.items()}
    return {
        name: LatencyRun(
            times=times[name],
            baseline=times[first],
            control=times[_CONTROL],
            is_baseline=name == first,
            facts={
                **_conditions(entry, inputs_are),
                "warm_up_calls": timing.warm_up_calls[name],
                "warm_up_settled": "yes" if timing.settled[name] else "no, time was up",
            },
            taken=taken[name],
            baseline_taken=taken[first],
        )
        for name, entry in contenders.items()
    }


def latency_ms(run: LatencyRun) -> Measurement:
    """Return the median latency; `details` holds p90 and p99 where there are samples enough for them.

    `samples` are in the order of the rounds, `details["block"]` of them a round.
    """
    samples = run.times.samples_ms
    found, missing = percentiles(samples)
    return Measurement(
        metric="latency_ms",
        value=found["p50"],
        unit="ms",
        interval=median_interval(run.times),
        n=samples.size,
        samples=tuple(samples.ravel().tolist()),
        details={
            **{f"{name}_ms": value for name, value in found.items()},
            "block": samples.shape[1],
            **run.facts,
        },
        not_counted=missing,
    )


def latency_ratio(run: LatencyRun) -> Measurement:
    """Return the baseline's median over this network's: 1.5 is 1.5 times as fast. `details` says whether it is noise.

    For the baseline it is the A/A control: the same file timed twice, which tells how far from 1 noise alone gets;
    `samples` are then the copy's times in ms, in the order of the rounds. Every other ratio is of samples that the two
    `latency_ms` keep.
    """
    control, control_interval = ratio_of_medians(run.baseline, run.control)
    if run.is_baseline:
        value, interval = control, control_interval
        words, samples = "A/A control", run.control.samples_ms
    else:
        value, interval = ratio_of_medians(run.baseline, run.times)
        words, samples = judge(interval, control_interval), None
    band = noise_band(control_interval)
    return Measurement(
        metric="latency_ratio",
        value=value,
        unit="x",
        interval=interval,
        n=run.times.samples_ms.size,
        samples=() if samples is None else tuple(samples.ravel().tolist()),
        details={"verdict": words, "control": control, "band_low": band[0], "band_high": band[1]},
    )


def noise_band(control_interval: tuple[float, float]) -> tuple[float, float]:
    """Return the ratios that noise alone reaches: the control's interval made symmetric about 1, and 3.5 % at least."""
    half = float(np.abs(np.log([*control_interval, _BETWEEN_SESSIONS])).max())
    return float(np.exp(-half)), float(np.exp(half))


def judge(
    interval: tuple[float, float], control_interval: tuple[float, float]
) -> Literal["faster", "slower", "within the A/A band"]:
    """Return whether a ratio's whole interval lies outside of what the A/A control reaches."""
    low, high = noise_band(control_interval)
    if interval[0] > high:
        return "faster"
    return "slower" if interval[1] < low else "within the A/A band"


def _settings(candidates: int) -> TimerSettings:
    """Return the timer's settings for so many candidates.

    The shortest warm-up is there for the processor's clock, which rises once for all of them: each gets its part of it,
    and its own warm-up goes on until its median settles.
    """
    usual = TimerSettings()
    return replace(usual, minimum_warm_up_seconds=usual.minimum_warm_up_seconds / candidates)


def _call(session: Session, inputs: Sequence[NDArray[Any]]) -> Call:
    """Return what the timer calls: the network on the i-th input, from the first again when they end."""
    return lambda index: session.run(inputs[index % len(inputs)])


def _taken(contender: Contender) -> NDArray[np.int64]:
    """Return the exit that each input takes; empty for a network without exits."""
    if not takes_exits(contender.session):
        return np.empty(0, np.int64)
    return np.concatenate([answer_each(contender.session, x)[1] for x in contender.inputs])


def _conditions(contender: Contender, inputs_are: str) -> dict[str, float | int | str]:
    """Return how a network was timed."""
    session, machine = contender.session, probe_machine()
    return {
        "threads": session.threads,
        "batch": int(contender.inputs[0].shape[0]),
        "provider": session.providers[0],
        "nodes_on": providers_used(session.placement().values()),
        "inputs": inputs_are,
        "cpu": machine.cpu.name,
        "onnxruntime": machine.packages.get("onnxruntime", machine.packages.get("onnxruntime-gpu", "unknown")),
    }
