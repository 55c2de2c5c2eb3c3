"""Does the emulated loss on x86 without VNNI come true? The same file on such a CPU, beside the emulation in torch.

onnxruntime runs in qemu-user with a Haswell CPU (AVX2, no VNNI), so that its real kernels saturate; Debian's package
qemu-user has it.

    python benchmarks/saturation.py RUN --data card.yaml --images 1000
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from record import record

from tinyml import load, load_task
from tinyml.runtime.session import logits, open_session
from tinyml.verification.trials import saturated_outputs

RUN_THERE = """
import sys
from pathlib import Path
import numpy as np
from tinyml.runtime.session import logits, open_session
np.save(sys.argv[3], logits(open_session(Path(sys.argv[1])), np.load(sys.argv[2])))
"""


def main() -> None:
    """Compare this CPU, the emulated CPU and the emulation on one run directory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", required=True)
    parser.add_argument("--images", type=int, default=1000)
    arguments = parser.parse_args()
    task = load_task(arguments.data)
    if task.test is None:
        raise SystemExit(f"{arguments.data} has no test split")
    inputs, labels = task.inputs(task.test.x[: arguments.images]), task.test.y[: arguments.images]
    model = arguments.run / "model.onnx"
    here = logits(open_session(model), inputs)
    there = on_haswell(model, inputs)
    emulated = saturated_outputs(load(arguments.run)[0], torch.from_numpy(inputs))

    def percent(same: np.ndarray) -> float:
        return round(100 * float(same.mean()), 2)

    facts = {
        "images": len(labels),
        "accuracy_here": percent(here.argmax(1) == labels),
        "accuracy_on_haswell": percent(there.argmax(1) == labels),
        "accuracy_emulated": percent(emulated.argmax(1) == labels),
        "same_answer_here_and_on_haswell": percent(here.argmax(1) == there.argmax(1)),
        "same_answer_emulated_and_on_haswell": percent(emulated.argmax(1) == there.argmax(1)),
        "mean_logit_difference_here_to_haswell": float(np.abs(here - there).mean()),
        "mean_logit_difference_emulated_to_haswell": float(np.abs(emulated - there).mean()),
    }
    record("saturation", facts)
    print(json.dumps(facts, indent=1))


def on_haswell(model: Path, inputs: np.ndarray) -> np.ndarray:
    """Return the file's outputs computed by onnxruntime on an emulated Haswell."""
    with tempfile.TemporaryDirectory() as folder:
        given, found = Path(folder, "inputs.npy"), Path(folder, "outputs.npy")
        np.save(given, inputs)
        command = [
            "qemu-x86_64",
            "-cpu",
            "Haswell",
            sys.executable,
            "-c",
            RUN_THERE,
            str(model),
            str(given),
            str(found),
        ]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
        outputs: np.ndarray = np.load(found)
    return outputs


if __name__ == "__main__":
    main()
