"""What each node took, by the runtime's own profile.

The nodes are those that really ran: fused, renamed and moved to other memory layouts. The profile's clock has steps of
one microsecond, and profiling costs time itself: nodes can be compared with each other, the whole wants the timer.
"""

import json
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from tinyml.errors import TinymlError
from tinyml.runtime.session import CPU, Session, open_session

_WARM_UP_RUNS: Final = 10
_HOLD_GRAPHS: Final = ("If", "Loop", "Scan")
# what onnxruntime appends to the name of a node that it fused, copied or moved to another layout
_ADDED: Final = re.compile(r"(_kernel_time|_nchwc|_nhwc|_token_\d+|/duplicated|_quant|_fused)$")


@final
@dataclass(frozen=True, kw_only=True)
class NodeTime:
    """A node that ran.

    Attributes:
        name: as the runtime calls it.
        operator: the operator that ran ("QLinearConv"), not the one in the file.
        provider: where it ran.
        median_ms: median of its time over the runs that came to it: a branch of an If is not always taken.
        runs: number of these runs.
    """

    name: str
    operator: str
    provider: str
    median_ms: float
    runs: int


@final
@dataclass(frozen=True, kw_only=True)
class RuntimeProfile:
    """What the runtime's profile says.

    Attributes:
        nodes: what ran, in order.
        run_ms: median of a whole run, as the profile has it: more than the sum of the nodes.
    """

    nodes: tuple[NodeTime, ...]
    run_ms: float


def profile_nodes(
    model: Path, inputs: Sequence[NDArray[Any]], *, runs: int = 100, provider: str = CPU, threads: int = 1
) -> RuntimeProfile:
    """Return what each node of the model took, over `runs` runs on the inputs in turn, after a short warm-up.

    Raises:
        CheckpointError, TargetError: as `open_session`.
        TinymlError: the runtime's profile holds no nodes.
    """
    with tempfile.TemporaryDirectory(prefix="tinyml-profile-") as folder:
        session = open_session(model, provider=provider, threads=threads, profile_prefix=Path(folder) / "profile")
        events = _run_and_read(session, inputs, _WARM_UP_RUNS + runs)
    return read_profile(events, warm_up=_WARM_UP_RUNS, source=str(model))


def read_profile(events: Sequence[dict[str, Any]], *, warm_up: int, source: str) -> RuntimeProfile:
    """Return the median times in the events of onnxruntime's profile (JSON), the first `warm_up` runs left out.

    Raises:
        TinymlError: there are no nodes in it.
    """
    times: dict[tuple[str, str], list[float]] = {}
    facts: dict[tuple[str, str], dict[str, Any]] = {}
    runs: list[float] = []
    for event in events:
        if event.get("cat") == "Session" and event.get("name") == "model_run":
            runs.append(event["dur"] / 1000)
        elif event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            if event["args"].get("op_name") in _HOLD_GRAPHS:
                continue  # the nodes inside are told themselves
            key = event["name"], str(event["args"].get("node_index"))  # names may be empty or not unique
            times.setdefault(key, []).append(event["dur"] / 1000)
            facts[key] = event["args"]
    if not times:
        raise TinymlError(f"{source}: onnxruntime's profile holds no nodes.")
    nodes = tuple(
        NodeTime(
            name=key[0].removesuffix("_kernel_time"),
            operator=str(facts[key].get("op_name", "unknown")),
            provider=str(facts[key].get("provider", "unknown")),
            median_ms=float(np.median(samples[warm_up:] or samples)),
            runs=len(samples[warm_up:] or samples),
        )
        for key, samples in times.items()
    )
    return RuntimeProfile(nodes=nodes, run_ms=float(np.median(runs[warm_up:] or runs or [0.0])))


def original_names(name: str) -> tuple[str, ...]:
    """Return the names in the file that a node of the profile may come from, the likeliest first.

    Fused nodes carry the name of one of their nodes or of their output, with an ending such as "_token_4", "_nchwc" or
    "/MatMulAddFusion".
    """
    names = [name]
    while (shorter := _ADDED.sub("", names[-1])) != names[-1]:
        names.append(shorter)
    if "/" in names[-1]:
        names.append(names[-1].rsplit("/", 1)[0])
    return tuple(names)


def _run_and_read(session: Session, inputs: Sequence[NDArray[Any]], runs: int) -> list[dict[str, Any]]:
    """Run the session on the inputs in turn and return the events of its profile."""
    for index in range(runs):
        session.run(inputs[index % len(inputs)])
    events: list[dict[str, Any]] = json.loads(session.end_profile().read_text(encoding="utf-8"))
    return events
