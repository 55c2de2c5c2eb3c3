"""Join the stages of a network with exits in one file that computes a stage only where the example has not left.

    stage 0 -> leaves_0? -> If: (logits_0, 0)
                            else stage 1 -> leaves_1? -> If: (logits_1, 1)
                                                         else ...

A runtime runs the branch that the condition names and nothing of the other. `If` takes one condition, so the file takes
one example; batches are what the stages themselves are for. A branch is optimised on its own: everything that it reads
but the tensors that cross is inside it, under names of its own. Thresholds and temperatures stand in the main graph,
where a person finds them.
"""

from collections.abc import Sequence
from typing import Final

import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper

from tinyml.errors import TinymlError
from tinyml.export.exits.rule_nodes import Decision, policy_constants
from tinyml.export.lower import INPUT, OUTPUT
from tinyml.runtime.exit_policy import RULE_KEY, ExitPolicy

EXIT: Final = "exit"


def join_stages(stages: Sequence[ModelProto], policy: ExitPolicy) -> ModelProto:
    """Return one network: `input` (1, ...) to `output` (1, classes), the logits, and `exit` (1,) int64, from 0 on.

    Args:
        stages: from `split_stages`, in order.
        policy: a threshold for each stage but the last.

    Raises:
        TinymlError: the numbers of stages and thresholds do not fit, or the exits differ in their classes.
    """
    if len(stages) != len(policy.thresholds) + 1:
        given = len(policy.thresholds)
        raise TinymlError(f"{len(stages)} stages want {len(stages) - 1} thresholds; there are {given}.")
    widths = [[size.dim_value for size in stage.graph.output[0].type.tensor_type.shape.dim[1:]] for stage in stages]
    if any(width != widths[0] for width in widths) or len(widths[0]) != 1 or widths[0][0] < 2:
        raise TinymlError(f"exits want logits (N, classes) with 2 classes or more, all alike; here they are {widths}.")
    graph = _joined(stages, policy, classes=widths[0][0])
    model = helper.make_model(
        graph,
        opset_imports=stages[0].opset_import,
        ir_version=stages[0].ir_version,
        producer_name=stages[0].producer_name,
    )
    helper.set_model_props(model, {RULE_KEY: policy.rule})
    onnx.checker.check_model(model, full_check=True)
    return model


def _joined(stages: Sequence[ModelProto], policy: ExitPolicy, *, classes: int) -> GraphProto:
    """Return the main graph: the first stage, with the others inside its If."""
    decisions: list[Decision] = []
    for index in range(len(stages) - 1):
        before = decisions[-1] if decisions else None
        logits = f"logits_{index}"
        decisions.append(Decision(policy.rule, exit_index=index, logits=logits, classes=classes, before=before))
    constants = policy_constants(policy)
    used = {name for each in decisions for node in each.nodes for name in (*node.input, *node.output)}
    scoped = _scoped(stages, used.union(_own_names(len(stages)), (item.name for item in constants)))
    last = len(stages) - 1
    rest = _branch(scoped[last], [_exit_number(last, _answer_names(last)[1])], last, classes)
    for index in reversed(range(last)):
        decision = decisions[index]
        rest = _branch(scoped[index], [*decision.nodes, _if(index, decision, rest, classes)], index, classes)
        rest.initializer.extend(decision.constants)
    rest.initializer.extend(constants)
    image = next(item for item in scoped[0].input if item.name == INPUT)
    image.type.tensor_type.shape.dim[0].dim_value = 1
    rest.input.append(image)
    return rest


def _scoped(stages: Sequence[ModelProto], reserved: set[str]) -> list[GraphProto]:
    """Return the graphs of the stages, with no name made twice; logits are `logits_i`, those of the last its answer."""
    taken, crossing, graphs = set(reserved), {INPUT: INPUT}, []
    for index, stage in enumerate(stages):
        graph = GraphProto()
        graph.CopyFrom(stage.graph)
        new = {item.name: crossing[item.name] for item in graph.input}
        new[OUTPUT] = f"logits_{index}" if index < len(stages) - 1 else _answer_names(index)[0]
        made = [item.name for item in graph.initializer] + [name for node in graph.node for name in node.output]
        for name in made:
            if name and name not in new:
                new[name] = name
                while new[name] in taken:
                    new[name] = f"stage{index}.{new[name]}"
        taken.update(new.values())
        crossing |= {item.name: new[item.name] for item in graph.output[1:]}
        for item in graph.initializer:
            item.name = new[item.name]
        for node in graph.node:
            node.input[:] = [new.get(name, name) for name in node.input]
            node.output[:] = [new.get(name, name) for name in node.output]
        graphs.append(graph)
    return graphs


def _branch(stage: GraphProto, nodes: list[NodeProto], index: int, classes: int) -> GraphProto:
    """Return the graph that answers for the exits from `index` on: a stage, and what follows it."""
    outputs = _answer(_answer_names(index), classes)
    return helper.make_graph([*stage.node, *nodes], stage.name, [], outputs, stage.initializer)


def _if(index: int, decision: Decision, otherwise: GraphProto, classes: int) -> NodeProto:
    """Return the If behind exit `index`: its answer, or that of the graph with the later stages."""
    names = [f"left_{index}", f"left_exit_{index}"]
    left = [helper.make_node("Identity", [f"logits_{index}"], [names[0]]), _exit_number(index, names[1])]
    return helper.make_node(
        "If",
        [decision.leaves],
        _answer_names(index),
        name=f"exit_{index}.if",
        then_branch=helper.make_graph(left, f"exit_{index}", [], _answer(names, classes)),
        else_branch=otherwise,
    )


def _answer_names(index: int) -> list[str]:
    """Return the names of what the exits from `index` on answer: logits and exit."""
    return [OUTPUT, EXIT] if index == 0 else [f"{OUTPUT}_from_{index}", f"{EXIT}_from_{index}"]


def _own_names(stages: int) -> set[str]:
    """Return the names of the answers, of those that leave too."""
    answers = {name for index in range(stages) for name in _answer_names(index)}
    return answers | {f"left_{index}" for index in range(stages)} | {f"left_exit_{index}" for index in range(stages)}


def _exit_number(index: int, name: str) -> NodeProto:
    value = helper.make_tensor(name, TensorProto.INT64, [1], [index])
    return helper.make_node("Constant", [], [name], value=value)


def _answer(names: list[str], classes: int) -> list[onnx.ValueInfoProto]:
    return [
        helper.make_tensor_value_info(names[0], TensorProto.FLOAT, [1, classes]),
        helper.make_tensor_value_info(names[1], TensorProto.INT64, [1]),
    ]
