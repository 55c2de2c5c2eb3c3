"""Run the stages of a network with exits on a device: needs numpy and onnxruntime, nothing else.

    python run_stages.py images.npy -o answers.npz

exits.json beside this file names the stages, in order, and says when to leave: an example leaves at the first exit
whose confidence is at least the exit's threshold. Change the thresholds there. The confidence, of p = softmax(logits /
temperature): max_probability: the largest p; margin: the largest less the second; entropy: 1 + sum(p log p) /
log(classes); patience: how many exits in a row gave the same answer.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime

RULES = ("max_probability", "margin", "entropy", "patience")


class Stages:
    """The stages in a directory, opened."""

    def __init__(self, directory, *, threads=1, providers=("CPUExecutionProvider",)):
        """Open the stages that exits.json in `directory` names."""
        directory = Path(directory)
        try:
            exits = json.loads((directory / "exits.json").read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"exits.json: it is no JSON: {error}") from error
        check(exits)
        self.rule, self.thresholds, self.temperatures = (exits[k] for k in ("rule", "thresholds", "temperatures"))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.sessions = [
            onnxruntime.InferenceSession(str(directory / name), options, providers=list(providers))
            for name in exits["stages"]
        ]

    def run(self, x):
        """Return (logits (N, classes), exit taken (N,)) for inputs (N, ...), in their order."""
        rows, exits, logits = np.arange(len(x)), np.zeros(len(x), np.int64), None
        known, before, lengths = {"input": x}, np.full(len(x), -1), np.zeros(len(x), np.float32)
        for index, session in enumerate(self.sessions):
            outputs = [entry.name for entry in session.get_outputs()]
            fed = {entry.name: known[entry.name] for entry in session.get_inputs()}
            known.update(zip(outputs, session.run(outputs, fed), strict=True))
            given = known.pop("output")
            logits = np.empty((len(x), *given.shape[1:]), given.dtype) if logits is None else logits
            answers = given.argmax(axis=1)
            lengths = np.where(answers == before, lengths + 1, 1).astype(np.float32)
            leaves = self._leaves(index, given, lengths)
            logits[rows[leaves]], exits[rows[leaves]] = given[leaves], index
            stays = ~leaves
            rows, before, lengths = rows[stays], answers[stays], lengths[stays]
            if not len(rows):
                break
            known = {name: value[stays] for name, value in known.items()}
        return logits, exits

    def _leaves(self, index, logits, lengths):
        if index == len(self.thresholds):
            return np.ones(len(logits), bool)
        sure = lengths if self.rule == "patience" else confidence(self.rule, logits, self.temperatures[index])
        return sure >= np.float32(self.thresholds[index])


def check(exits):
    """Raise ValueError where the contents of exits.json mean nothing."""
    for key in ("rule", "thresholds", "temperatures", "stages"):
        if key not in exits:
            raise ValueError(f"exits.json: {key} is missing")
    rule, stages = exits["rule"], len(exits["stages"])
    if rule not in RULES:
        raise ValueError(f"exits.json: rule '{rule}' is unknown; allowed are {', '.join(RULES)}")
    if not len(exits["thresholds"]) == len(exits["temperatures"]) == stages - 1:
        raise ValueError(f"exits.json: {stages} stages want {stages - 1} thresholds and as many temperatures")
    for index, (threshold, temperature) in enumerate(zip(exits["thresholds"], exits["temperatures"], strict=True)):
        said = f"exits.json: threshold of exit {index} is {threshold:g}; allowed are"
        if rule == "patience" and not (threshold >= 1 and threshold == int(threshold)):
            raise ValueError(f"{said} whole numbers from 1, the exits in a row that must agree")
        if rule != "patience" and not (0 <= threshold <= 1 or threshold == 2):
            raise ValueError(f"{said} 0 to 1, and 2 for never")
        if not 0 < temperature < float("inf"):
            raise ValueError(f"exits.json: temperature of exit {index} is {temperature:g}; allowed are numbers above 0")


def confidence(rule, logits, temperature):
    """Return how sure an exit is of each example, (N,), for logits (N, classes)."""
    scaled = logits.astype(np.float32) / np.float32(temperature)
    log_p = scaled - scaled.max(axis=1, keepdims=True)
    log_p -= np.log(np.exp(log_p).sum(axis=1, keepdims=True))
    p = np.exp(log_p)
    if rule == "max_probability":
        return p.max(axis=1)
    if rule == "margin":
        second, first = np.partition(p, -2, axis=1)[:, -2:].T
        return first - second
    return np.maximum(1 + (p * log_p).sum(axis=1) / np.float32(np.log(logits.shape[1])), 0)


def main():
    """Answer the inputs of an .npy file."""
    parser = argparse.ArgumentParser(description="Run the stages of a network with exits.")
    parser.add_argument("inputs", type=Path, help=".npy file (N, ...) of the type and shape that the first stage takes")
    parser.add_argument("-o", "--output", type=Path, default=Path("answers.npz"), help="written: logits and exit")
    parser.add_argument("--batch", type=int, default=64, help="inputs at once (64)")
    parser.add_argument("--threads", type=int, default=1, help="threads of a stage (1)")
    chosen = parser.parse_args()
    if chosen.batch < 1:
        parser.error(f"--batch {chosen.batch}: allowed is 1 or more")
    try:
        x = np.load(chosen.inputs, mmap_mode="r", allow_pickle=False)
        if not len(x):
            parser.error(f"{chosen.inputs}: it holds no inputs")
        stages = Stages(Path(__file__).parent, threads=chosen.threads)
        parts = [stages.run(np.asarray(x[start : start + chosen.batch])) for start in range(0, len(x), chosen.batch)]
    except Exception as error:  # onnxruntime's exceptions share no base class but Exception
        parser.error(" ".join(str(error).split()) or type(error).__name__)
    logits, exits = (np.concatenate(each) for each in zip(*parts, strict=True))
    np.savez(chosen.output, logits=logits, exit=exits)
    for index, count in enumerate(np.bincount(exits, minlength=len(stages.sessions))):
        print(f"exit {index}: {count} of {len(x)}")


if __name__ == "__main__":
    sys.exit(main())
