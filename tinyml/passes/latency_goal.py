"""Counts of channels at which the measured latency of a network has fallen to a share of what it was.

A table of layers says which counts to try (latency_path.py); the network itself is exported and timed beside the uncut
one, in one interleaved run, and that alone decides (latency_search.py). It is timed in float32, on one random input, as
later passes find it. What was measured is kept in the run: one that was killed and is resumed decides the same.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Final, final

import numpy as np
from pydantic import JsonValue, TypeAdapter, ValidationError
from torch import nn

from tinyml.errors import CheckpointError
from tinyml.export import to_onnx
from tinyml.measure.latency_cache import cached_table, keep_table
from tinyml.measure.latency_table import RuntimeSettings, steady_clock
from tinyml.passes.base import Context
from tinyml.passes.channel_counts import Allotment, Counts
from tinyml.passes.latency_path import CountedLayers, LatencyPath
from tinyml.passes.latency_search import search
from tinyml.runtime.session import open_session
from tinyml.runtime.timer import Call, TimerSettings, time_interleaved
from tinyml.sealed_json import from_sealed_json, to_sealed_json

_TIMER: Final = TimerSettings(rounds=12, block=6, seconds=20.0, minimum_rounds=4, warm_up_seconds=0.5)
_SESSIONS: Final = 3  # of each network: where a session's buffers lie in memory is drawn once, and shifts its times
_SOURCE: Final = Path("the saved state of channel_pruning")


@final
@dataclass(frozen=True, kw_only=True)
class _State:
    """What a run has measured: the table, and shares by the number of the stop."""

    reference_ms: float = 0.0
    entries: Mapping[str, float] = field(default_factory=dict)
    shares: Mapping[int, float] = field(default_factory=dict)


_STATE: Final = TypeAdapter(_State)


@final
class LatencyGoal:
    """Counts for a network, by measuring on this machine with the target's provider and the context's threads."""

    def __init__(
        self, module: nn.Module, input_shape: tuple[int, ...], cut: Callable[[Counts], nn.Module], context: Context
    ) -> None:
        """Take a network, what gives it with fewer channels, and where an interrupted search was kept.

        Raises:
            CheckpointError: what was kept is damaged.
        """
        self._module, self._input_shape, self._cut, self._context = module, input_shape, cut, context
        self._runtime = RuntimeSettings(provider=context.target.provider, threads=context.threads)
        kept = _load(context)
        self._shares = dict(kept.shares)
        self._table = cached_table(self._runtime)
        if kept.entries:
            self._table.replace(reference_ms=kept.reference_ms, entries=kept.entries)

    @cached_property
    def _whole(self) -> bytes:
        return self._exported(self._module)

    def meet(self, allotment: Allotment, goal: float) -> tuple[Counts, float]:
        """Return counts that stay and their measured share of the latency, at most the goal (0-1) where one is found.

        Of those found that meet it these are the slowest; where none does, they are the path's last.

        Raises:
            TinymlError: the network cannot be exported.
        """
        layers = CountedLayers(self._module, self._input_shape, allotment.groups)
        path = LatencyPath(layers, allotment, self._table, self._context.progress)

        def measured(number: int) -> float:
            if number not in self._shares:
                self._save()
                self._shares[number] = self._share(path.stops[number].counts)
                self._save()
            facts = {"measured": round(self._shares[number], 4), "predicted": round(path.predicted(number), 4)}
            self._context.record({"event": "latency", **facts})
            return self._shares[number]

        end = search(path, measured, goal)
        keep_table(self._table, self._runtime)
        layers_ms: dict[str, JsonValue] = {
            name: [round(before, 4), round(after, 4)] for name, (before, after) in path.layers_ms(end.number).items()
        }
        self._context.record({"event": "latency by layer", "layers_ms": layers_ms})
        return path.stops[end.number].counts, end.share

    def _share(self, counts: Counts) -> float:
        """Return the latency with these counts as a share of the whole network's, the median over rounds."""
        networks = {"whole": self._whole, "cut": self._exported(self._cut(counts))}
        timing = time_interleaved(
            {f"{name} {copy}": self._call(network) for name, network in networks.items() for copy in range(_SESSIONS)},
            settings=_TIMER,
            seed=self._context.seed,
            clock=steady_clock(self._runtime),
            progress=self._context.progress,
        )
        rounds = {name: np.median(samples, axis=1) for name, samples in timing.samples_ms.items()}
        whole, cut = (sum(rounds[f"{name} {copy}"] for copy in range(_SESSIONS)) for name in networks)
        return float(np.median(cut / whole))

    def _exported(self, module: nn.Module) -> bytes:
        self._context.progress.status("exporting the network to time it")
        model = to_onnx(module, input_shape=self._input_shape, target=self._context.target)
        content: bytes = model.SerializeToString()
        return content

    def _call(self, network: bytes) -> Call:
        session = open_session(network, provider=self._runtime.provider, threads=self._runtime.threads)
        x = np.random.default_rng(self._context.seed).standard_normal((1, *self._input_shape))
        fed = x.astype(session.input_dtype)
        return lambda _: session.run(fed)

    def _save(self) -> None:
        if self._context.store is not None:
            state = _State(reference_ms=self._table.reference_ms, entries=self._table.entries, shares=self._shares)
            self._context.store.save(to_sealed_json(_STATE.dump_python(state, mode="json")).encode())


def _load(context: Context) -> _State:
    """Return what an interrupted search had measured; nothing where there was none."""
    saved = context.store.load() if context.store is not None else None
    if saved is None:
        return _State()
    try:
        facts = from_sealed_json(saved.decode(errors="replace"), source=_SOURCE, error=CheckpointError)
        return _STATE.validate_python(facts)
    except (CheckpointError, ValidationError) as error:
        raise CheckpointError("the saved state of channel_pruning is damaged: start without --resume") from error
