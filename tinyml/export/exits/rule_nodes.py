"""The rules of `tinyml.numerics.exit_rules` in ONNX's operators, for one example."""

from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from tinyml.numerics.exit_rules import ExitRule
from tinyml.runtime.exit_policy import ExitPolicy

THRESHOLD: Final = "threshold"
TEMPERATURE: Final = "temperature"


@final
class Decision:
    """The nodes that decide about one exit.

    Attributes:
        nodes: in order.
        constants: what they read beside the logits, the threshold and the temperature.
        leaves: the tensor that is true where the example leaves.
        answer, length: with patience, what the next exit reads: the class, and how many exits in a row gave it.
    """

    def __init__(
        self, rule: ExitRule, *, exit_index: int, logits: str, classes: int, before: "Decision | None"
    ) -> None:
        """Make the nodes of an exit; `before` decided about the exit before it."""
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []
        self.answer = self.length = ""
        self._index = exit_index
        if rule == "patience":
            sure = self._patience(logits, before)
        else:
            sure = self._confidence(rule, logits, classes)
        self.leaves = self._add("GreaterOrEqual", sure, f"{THRESHOLD}_{exit_index}", name="leaves")

    def _confidence(self, rule: ExitRule, logits: str, classes: int) -> str:
        scaled = self._add("Div", logits, f"{TEMPERATURE}_{self._index}", name="scaled")
        p = self._add("Softmax", scaled, name="probabilities")
        if rule == "max_probability":
            return self._add("ReduceMax", p, name="confidence", keepdims=0)
        if rule == "margin":
            largest = self._add("TopK", p, self._constant([2], np.int64, "two"), name="largest", also="places")
            first = self._add("Split", largest, name="first", also="second", axis=1, num_outputs=2)
            return self._add("Sub", first, self._named("second"), name="confidence")
        terms = self._add("Mul", p, self._add("LogSoftmax", scaled, name="log_probabilities"), name="terms")
        share = self._add("Div", self._add("ReduceSum", terms, name="sum", keepdims=0),
                          self._constant(np.log(classes), np.float32, "log_classes"), name="share")  # fmt: skip
        sure = self._add("Add", share, self._constant(1, np.float32, "one"), name="sure")
        return self._add("Relu", sure, name="confidence")  # of equal logits rounding gives less than 0

    def _patience(self, logits: str, before: "Decision | None") -> str:
        self.answer = self._add("ArgMax", logits, name="answer", axis=1, keepdims=0)
        one = self._constant([1], np.float32, "one")
        if before is None:
            self.length = one
            return one
        same = self._add("Equal", self.answer, before.answer, name="same")
        counted = self._add("Cast", same, name="counted", to=TensorProto.FLOAT)
        self.length = self._add("Add", self._add("Mul", counted, before.length, name="kept"), one, name="length")
        return self.length

    def _add(self, operator: str, *inputs: str, name: str, also: str = "", **attributes: int) -> str:
        """Add a node; return the name of its first output. `also` names a second output."""
        outputs = [self._named(each) for each in (name, also) if each]
        node = helper.make_node(operator, inputs, outputs, name=outputs[0])
        node.attribute.extend(helper.make_attribute(key, value) for key, value in attributes.items())
        self.nodes.append(node)
        return outputs[0]

    def _constant(self, value: Any, kind: type[np.generic], name: str) -> str:
        array: NDArray[Any] = np.asarray(value, kind)
        self.constants.append(numpy_helper.from_array(array, self._named(name)))
        return self._named(name)

    def _named(self, name: str) -> str:
        return f"exit_{self._index}.{name}"


def policy_constants(policy: ExitPolicy) -> list[TensorProto]:
    """Return `threshold_0`, ..., `temperature_0`, ...: float32 scalars that a person can change."""
    named = {THRESHOLD: policy.thresholds, TEMPERATURE: policy.temperatures}
    return [
        numpy_helper.from_array(np.asarray(value, np.float32), f"{name}_{index}")
        for name, values in named.items()
        for index, value in enumerate(values)
    ]
