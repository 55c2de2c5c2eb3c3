"""The lines of Python that run the file with onnxruntime alone, from pixels to the answer."""

import json
from collections.abc import Sequence

from tinyml.report.report import InputFacts, Report


def usage_snippet(report: Report) -> str:
    """Return a program that runs as it stands beside the file; it needs numpy and onnxruntime."""
    provider = _quoted(report.target.provider)
    lines = [
        "import numpy as np",
        "import onnxruntime",
        "",
        f"session = onnxruntime.InferenceSession({_quoted(report.file)}, providers=[{provider}])",
        *_input_lines(report.input),
        *_run_lines(report),
        *_answer_lines(report.classes),
    ]
    return "\n".join(lines) + "\n"


def _run_lines(report: Report) -> list[str]:
    """Return the line that runs the file; one with exits says where the input left."""
    output, fed = _quoted(report.output), f"{{{_quoted(report.input.name)}: x}}"
    if report.exits is None:
        return [f"output = session.run([{output}], {fed})[0]"]
    return [
        f'output, left_at = session.run([{output}, "exit"], {fed})  # one input at a time',
        'print(f"left at exit {left_at[0]}")',
    ]


def _input_lines(facts: InputFacts) -> list[str]:
    """Return the lines that make `x` out of pixels, or out of floats."""
    shape = ", ".join(str(size) for size in (1, *facts.shape))
    if facts.dtype == "uint8":
        return [
            f"x = np.zeros(({shape}), dtype=np.uint8)  # your images: (N, H, W, C), 0 to 255, not normalised",
        ]
    if not facts.mean or len(facts.shape) != 3:
        return [f"x = np.zeros(({shape}), dtype=np.float32)  # your inputs, as the network was trained on them"]
    channels, height, width = facts.shape
    return [
        f"pixels = np.zeros((1, {height}, {width}, {channels}), dtype=np.uint8)  # your images: (N, H, W, C), 0 to 255",
        f"mean = np.array({_numbers(facts.mean)}, dtype=np.float32)",
        f"std = np.array({_numbers(facts.std)}, dtype=np.float32)",
        "x = ((pixels.astype(np.float32) / 255 - mean) / std).transpose(0, 3, 1, 2)",
    ]


def _answer_lines(classes: Sequence[str]) -> list[str]:
    """Return the lines that print the answer."""
    if not classes:
        return ["print(output)"]
    names = ", ".join(_quoted(name) for name in classes)
    return [f"classes = [{names}]", "print([classes[k] for k in output.argmax(axis=1)])"]


def _numbers(values: Sequence[float]) -> str:
    """Return a list of numbers as Python writes it."""
    return f"[{', '.join(f'{value:.6g}' for value in values)}]"


def _quoted(word: str) -> str:
    """Return the word as a string literal of Python, which JSON's are."""
    return json.dumps(word, ensure_ascii=False)
