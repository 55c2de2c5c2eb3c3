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

from tinyml.pipeline.job import versions
from tinyml.runtime.probe import probe_machine

RESULTS = Path(__file__).parent / "results"


def record(name: str, facts: Mapping[str, object]) -> Path:
    """Write results/NAME.json and return its path; paths in the command are cut to their last part."""
    words = [Path(word).name if "/" in word else word for word in sys.argv[1:]]
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
    machine = probe_machine()
    content = {
        "command": shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *words]),
        "commit": commit.stdout.strip(),
        "versions": versions(),
        "cpu": machine.cpu.name,
        "int8_saturates": machine.int8_saturates,
        **facts,
    }
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(content, indent=1) + "\n")
    return path
