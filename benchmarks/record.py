"""Write a benchmark's result with what is needed to run it again: command, commit, versions, machine."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

# As the command line does, before torch is loaded: its waiting threads would spin.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from tinyml.runtime.probe import installed_packages, probe_machine

RESULTS = Path(__file__).parent / "results"


def record(name: str, facts: Mapping[str, object]) -> Path:
    """Write results/NAME.json and return its path; paths in the command are cut to their last part."""
    words = [",".join(_last_part(part) for part in word.split(",")) for word in sys.argv[1:]]
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
    changed = subprocess.run(["git", "status", "--short", "tinyml"], capture_output=True, text=True, check=True)
    machine = probe_machine()
    content = {
        "command": shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *words]),
        "commit": commit.stdout.strip() + (" with changes" if changed.stdout.strip() else ""),
        "versions": installed_packages(),
        "cpu": machine.cpu.name,
        "int8_saturates": machine.int8_saturates,
        **facts,
    }
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(content, indent=1) + "\n")
    return path


def _last_part(text: str) -> str:
    """Return NAME=MODEL or a file's name without its folders."""
    return Path(text).name if "/" in text else text
