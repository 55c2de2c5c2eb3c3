import numpy as np
import pytest
from onnx import helper

from tinyml.export.rewrites.slices import join_slices


def sliced(hand_made, first: dict, second: dict, *, extra=(), steps: bool = True):
    nodes, constants = [], {}
    for k, (bounds, source, target) in enumerate([(first, "input", "y"), (second, "y", "output")]):
        constants |= {f"{name}{k}": np.array(value, np.int64) for name, value in bounds.items()}
        names = [f"{name}{k}" for name in ("starts", "ends", "axes", *(["steps"] if steps else []))]
        nodes.append(helper.make_node("Slice", [source, *names], [target], f"slice{k}"))
    outputs = ("output", "y") if extra else ("output",)
    return hand_made([*nodes, *extra], constants, shape=("batch", 6, 8, 10), outputs=outputs)


def bounds(start: int, end: int, axis: int, step: int = 1) -> dict:
    return {"starts": [start], "ends": [end], "axes": [axis], "steps": [step]}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (bounds(0, 99, 2, 2), bounds(0, 99, 3, 2)),
        (bounds(1, 5, 1), bounds(-3, -1, 3)),
        ({"starts": [0, 1], "ends": [4, 7], "axes": [1, 2], "steps": [1, 3]}, bounds(9, 0, 3, -1)),
    ],
    ids=["every second pixel", "from the end", "two axes and backwards"],
)
def test_slices_of_different_axes_become_one(hand_made, first: dict, second: dict):
    made = sliced(hand_made, first, second)
    assert made.outputs_kept_by(join_slices)
    assert made.operators == ["Slice"]


@pytest.mark.parametrize(
    ("first", "second"),
    [(bounds(1, 9, 3, 2), bounds(1, 3, 3)), (bounds(0, 8, -1), bounds(0, 4, 3)), (bounds(0, 3, 2), bounds(0, 4, -1))],
    ids=["the same axis", "perhaps the same axis", "an axis counted from the end"],
)
def test_slices_that_might_share_an_axis_stay(hand_made, first: dict, second: dict):
    made = sliced(hand_made, first, second)
    assert made.outputs_kept_by(join_slices)
    assert made.operators == ["Slice", "Slice"]


def test_a_slice_that_something_else_reads_stays(hand_made):
    made = sliced(hand_made, bounds(0, 2, 1), bounds(0, 2, 2), extra=[helper.make_node("Sin", ["y"], ["t"])])
    assert made.outputs_kept_by(join_slices)
    assert made.operators == ["Slice", "Slice", "Sin"]


def test_slices_without_steps_stay(hand_made):
    made = sliced(hand_made, bounds(0, 2, 1), bounds(0, 2, 2), steps=False)
    assert made.outputs_kept_by(join_slices)
    assert made.operators == ["Slice", "Slice"]


def test_three_slices_become_one(hand_made):
    made = sliced(hand_made, bounds(0, 2, 1), bounds(0, 3, 2))
    names = ["starts2", "ends2", "axes2", "steps2"]
    made.graph.node[1].output[0] = "z"
    made.graph.node.append(helper.make_node("Slice", ["z", *names], ["output"], "slice2"))
    made.graph.initializer.extend(
        helper.make_tensor(name, 7, [1], value) for name, value in zip(names, ([1], [9], [3], [4]), strict=True)
    )
    assert made.outputs_kept_by(join_slices)
    assert made.operators == ["Slice"]
