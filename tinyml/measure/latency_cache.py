"""Where tables of latencies are kept between runs: the user's cache directory, one file for each machine.

A machine is a CPU, a version of onnxruntime, a provider and a number of threads. The directory is XDG_CACHE_HOME, else
~/.cache. The file is there only to save time: one that is damaged is made anew, and where none can be written, none is.
"""

import hashlib
import logging
import os
from pathlib import Path
from typing import Final, final

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from tinyml.errors import CheckpointError, TinymlError
from tinyml.files import explained
from tinyml.measure.latency_table import LatencyTable, RuntimeSettings, runtime_stopwatch
from tinyml.runtime.cpu import read_cpu
from tinyml.runtime.session import runtime_version
from tinyml.sealed_json import read_sealed_json, to_json, write_sealed_json

logger = logging.getLogger(__name__)

_VERSION: Final = 1


@final
class Contents(BaseModel):
    """What is written of a table.

    Attributes:
        machine: what the times belong to.
        reference_ms: of the reference layer.
        entries: milliseconds by the words of a layer's shape.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    machine: dict[str, str]
    reference_ms: float = Field(gt=0, allow_inf_nan=False)
    entries: dict[str, float]


def machine_facts(runtime: RuntimeSettings) -> dict[str, str]:
    """Return what the times of a table belong to."""
    cpu = read_cpu()
    return {
        "version": str(_VERSION),
        "cpu": f"{cpu.name} ({cpu.architecture}, {cpu.cores} cores)",
        "instructions": ", ".join(cpu.instructions),
        "onnxruntime": runtime_version(),
        "provider": runtime.provider,
        "threads": str(runtime.threads),
    }


def cache_file(machine: dict[str, str]) -> Path:
    """Return where the table of a machine is kept."""
    home = os.environ.get("XDG_CACHE_HOME", "")
    folder = Path(home) if Path(home).is_absolute() else Path.home() / ".cache"
    digest = hashlib.sha256(to_json(machine).encode()).hexdigest()[:16]
    return folder / "tinyml" / f"latency-{digest}.json"


def cached_table(runtime: RuntimeSettings) -> LatencyTable:
    """Return the table of this machine with what earlier runs measured; an empty one where nothing is kept."""
    table, machine = LatencyTable(runtime_stopwatch(runtime)), machine_facts(runtime)
    if (known := _read(cache_file(machine), machine)) is not None:
        table.replace(reference_ms=known.reference_ms, entries=known.entries)
    return table


def keep_table(table: LatencyTable, runtime: RuntimeSettings) -> None:
    """Keep the table for later runs; where the place cannot be written, say so in the log and go on."""
    machine = machine_facts(runtime)
    path = cache_file(machine)
    try:
        with explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        payload: dict[str, JsonValue] = Contents(
            machine=machine, reference_ms=table.reference_ms, entries=table.entries
        ).model_dump(mode="json")
        write_sealed_json(path, payload)
    except TinymlError as error:
        logger.warning("The measured latencies are not kept for later runs: %s", error)


def _read(path: Path, machine: dict[str, str]) -> Contents | None:
    """Return what the file holds, None where it is missing, damaged or another machine's."""
    if not path.is_file():
        return None
    try:
        known = Contents.model_validate(read_sealed_json(path, error=CheckpointError))
    except (CheckpointError, ValidationError) as error:
        logger.info("The latencies of earlier runs are measured anew: %s", error)
        return None
    return known if known.machine == machine else None
