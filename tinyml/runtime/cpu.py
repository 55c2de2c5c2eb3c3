"""What the processor calls itself and which instructions for int8 it has."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

_INTERESTING: Final = {
    # as Linux names them -> as people do
    "avx": "AVX",
    "avx2": "AVX2",
    "avx512f": "AVX-512",
    "avx512bw": "AVX-512BW",
    "avx_vnni": "AVX-VNNI",
    "avx512_vnni": "AVX512-VNNI",
    "avx512vnni": "AVX512-VNNI",
    "avx_vnni_int8": "AVX-VNNI-INT8",
    "amx_int8": "AMX-INT8",
    "avx512_fp16": "AVX512-FP16",
    "asimd": "NEON",
    "asimddp": "NEON dot product",
    "i8mm": "NEON int8 matrix multiply",
    "fphp": "half-precision floats",
    "asimdhp": "NEON half-precision floats",
    "sve": "SVE",
}


@final
@dataclass(frozen=True, kw_only=True)
class Cpu:
    """A processor.

    Attributes:
        name: as it calls itself, or "unknown".
        architecture: "x86_64", "aarch64", ...
        instructions: those that matter to inference, as people name them; empty where they are not known.
        instructions_known: False where this system does not say.
        cores: logical processors that this process may use.
    """

    name: str
    architecture: str
    instructions: tuple[str, ...]
    instructions_known: bool
    cores: int


def read_cpu(cpuinfo: Path = Path("/proc/cpuinfo")) -> Cpu:
    """Return what `cpuinfo` says of this machine's first processor; elsewhere than on Linux, what `platform` says."""
    text = cpuinfo.read_text(encoding="utf-8", errors="replace") if cpuinfo.is_file() else ""
    fields = parse_cpuinfo(text)
    flags = fields.get("flags", fields.get("Features", "")).split()
    found = dict.fromkeys(spoken for flag, spoken in _INTERESTING.items() if flag in flags)
    return Cpu(
        name=fields.get("model name") or fields.get("Model") or platform.processor() or "unknown",
        architecture=platform.machine() or "unknown",
        instructions=tuple(found),
        instructions_known=bool(flags),
        cores=_usable_cores(),
    )


def parse_cpuinfo(text: str) -> dict[str, str]:
    """Return the first value of every key of a /proc/cpuinfo."""
    fields: dict[str, str] = {}
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if colon:
            fields.setdefault(key.strip(), value.strip())
    return fields


def _usable_cores() -> int:
    """Return the number of processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
