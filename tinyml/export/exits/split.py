"""Cut a network with exits into stages: one model per exit, which computes what the stages before it did not.

    stage i = the ancestors of output_i that are in no stage before it

What a node of a later stage reads from an earlier one crosses the border: an output of the one, an input of the other.
Three kinds of nodes are no stage's own. Every stage that reads them gets a copy:

- constants and their decoders;
- DequantizeLinear, so that the integers cross: they are a quarter of the bytes, and a runtime fuses the layer behind
  the border with a DequantizeLinear that it finds beside it, with scale and zero point of its own;
- the size of the batch (Shape from 0 to 1), which every tensor that crosses has as its first dimension.

A QuantizeLinear belongs to the stage that makes its input, where the runtime fuses it with the layer before it.
"""

import re
from typing import Final, final

import onnx
from onnx import GraphProto, ModelProto, NodeProto, helper

from tinyml.errors import TinymlError
from tinyml.export.exits.blocked_layout import start_blocked
from tinyml.export.exits.channels_last import put_channels_last
from tinyml.export.exits.interface import border_types
from tinyml.export.lower import OUTPUT
from tinyml.export.rewrites.index import attribute
from tinyml.export.rewrites.integer_pools import convolve_integer_pools
from tinyml.graph.onnx_constants import Constants
from tinyml.graph.onnx_graphs import subgraphs

_EXIT: Final = re.compile(rf"{OUTPUT}_(\d+)")


def split_stages(model: ModelProto) -> tuple[ModelProto, ...]:
    """Return the stages of a network with outputs `output_0` to `output_n`; the caller's model is not changed.

    A stage has the logits of its exit as `output`, then the tensors that later stages read, under the names that they
    have in the network; its inputs are such tensors, or the network's own. Every border has a dynamic batch in front.

    Raises:
        TinymlError: there are no exits, one is computed on the way to an earlier one, or what crosses has no batch.
    """
    whole = ModelProto()
    whole.CopyFrom(model)
    convolve_integer_pools(whole.graph)
    flow = _Flow(whole.graph)
    parts = [flow.part(index) for index in range(len(flow.exits))]
    crossing = {name for part in parts for name in part.inputs}
    types = border_types(whole, sorted(crossing.union(flow.exits)))
    stages = []
    for index, part in enumerate(parts):
        later = {name for other in parts[index + 1 :] for name in other.inputs}
        handed_on = [name for node in part.nodes for name in node.output if name in later]
        stages.append(_stage(whole, part, flow.exits[index], handed_on, types))
    put_channels_last(stages)
    start_blocked(stages)
    for stage in stages:
        onnx.checker.check_model(stage, full_check=True)
    return tuple(stages)


@final
class _Part:
    """What a stage consists of: its nodes in order, the tensors that cross into it, and the constants that it reads."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.inputs: list[str] = []
        self.stored: set[str] = set()


@final
class _Flow:
    """Which stage each node belongs to."""

    def __init__(self, graph: GraphProto) -> None:
        self.nodes = list(graph.node)
        if inner := next((node for node in self.nodes if subgraphs(node)), None):
            raise TinymlError(f"a network with branches of its own cannot have exits: {inner.op_type} '{inner.name}'.")
        self.stored = {item.name: item for item in graph.initializer}
        self.makers = {name: index for index, node in enumerate(self.nodes) for name in node.output if name}
        producers = {name: self.nodes[index] for name, index in self.makers.items()}
        self.constants = Constants(self.stored, producers)
        self.exits = _exits(graph)
        self.copied = {index for index, node in enumerate(self.nodes) if self._is_copied(node)}
        self.stage_of: dict[int, int] = {}
        for stage, name in enumerate(self.exits):
            self._claim(stage, name)
        self._move_quantizers()

    def _is_copied(self, node: NodeProto) -> bool:
        if all(name in self.constants for name in node.output):
            return True
        if node.op_type == "DequantizeLinear":
            return all(name in self.constants for name in node.input[1:])
        return _is_batch_size(node)

    def _claim(self, stage: int, output: str) -> None:
        """Give the stage the ancestors of its output that no earlier stage has."""
        before, pending = len(self.stage_of), [output]
        seen: set[int] = set()
        while pending:
            index = self.makers.get(pending.pop())
            if index is None or index in seen or index in self.stage_of:
                continue
            seen.add(index)
            if index not in self.copied:
                self.stage_of[index] = stage
            pending += [name for name in self.nodes[index].input if name]
        if len(self.stage_of) == before:
            raise TinymlError(f"'{output}' is computed on the way to an earlier exit; list exits from first to last.")

    def _move_quantizers(self) -> None:
        for index, node in enumerate(self.nodes):
            maker = self.stage_of.get(self.makers.get(node.input[0], -1)) if node.op_type == "QuantizeLinear" else None
            if maker is not None and index in self.stage_of:
                self.stage_of[index] = maker

    def part(self, stage: int) -> _Part:
        """Return what a stage consists of."""
        part, chosen = _Part(), {index for index, owner in self.stage_of.items() if owner == stage}
        pending = [self.exits[stage], *(name for index in sorted(chosen) for name in self.nodes[index].input)]
        crossing: dict[str, None] = {}
        while pending:
            name = pending.pop()
            index = self.makers.get(name, -1)
            if name in self.stored:
                part.stored.add(name)
            elif index in self.copied and index not in chosen:
                chosen.add(index)
                pending += [] if _is_batch_size(self.nodes[index]) else self.nodes[index].input
            elif name and index not in chosen:
                crossing[name] = None
        part.inputs = sorted(crossing, key=lambda name: self.makers.get(name, -1))
        part.nodes = [self._own(index, chosen, part.inputs) for index in sorted(chosen)]
        return part

    def _own(self, index: int, chosen: set[int], inputs: list[str]) -> NodeProto:
        """Return a stage's copy of a node; the size of the batch is read from a tensor that the stage has."""
        node = NodeProto()
        node.CopyFrom(self.nodes[index])
        if _is_batch_size(node) and self.makers.get(node.input[0]) not in chosen:
            node.input[0] = inputs[0]
        return node


def _exits(graph: GraphProto) -> list[str]:
    """Return the outputs `output_0`, `output_1`, ... in their order."""
    found = {int(match[1]): item.name for item in graph.output if (match := _EXIT.fullmatch(item.name))}
    if len(found) != len(graph.output) or len(found) < 2 or sorted(found) != list(range(len(found))):
        names = ", ".join(item.name for item in graph.output)
        raise TinymlError(f"a network with exits has outputs {OUTPUT}_0, {OUTPUT}_1, ...; this one has {names}.")
    return [found[index] for index in range(len(found))]


def _is_batch_size(node: NodeProto) -> bool:
    return node.op_type == "Shape" and attribute(node, "start", 0) == 0 and attribute(node, "end", 0) == 1


def _stage(
    model: ModelProto, part: _Part, logits: str, handed_on: list[str], types: dict[str, onnx.ValueInfoProto]
) -> ModelProto:
    """Return the stage as a model of its own; its logits are called `output`."""
    if logits in handed_on:
        part.nodes.append(helper.make_node("Identity", [logits], [OUTPUT]))
    else:
        for node in part.nodes:
            for names in (node.input, node.output):
                names[:] = [OUTPUT if name == logits else name for name in names]
    output = onnx.ValueInfoProto()
    output.CopyFrom(types[logits])
    output.name = OUTPUT
    graph = helper.make_graph(
        part.nodes,
        model.graph.name,
        [types[name] for name in part.inputs],
        [output, *(types[name] for name in handed_on)],
        [tensor for tensor in model.graph.initializer if tensor.name in part.stored],
    )
    return helper.make_model(
        graph, opset_imports=model.opset_import, ir_version=model.ir_version, producer_name=model.producer_name
    )
