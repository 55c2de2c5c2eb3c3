"""Give constants and nodes the names of their modules: `layer1.0.conv1.weight_quantized`, node `layer1.0.conv1`."""

import re

import onnx

from tinyml.export.rewrites.index import GraphIndex

_WEIGHT = re.compile(r"\.weight(_quantized)?$")
_DECODING = ("Cast", "DequantizeLinear", "Mul", "Reshape", "Sub", "Transpose")
_PATTERNS = (
    (re.compile(r"^(wrapped_network\.)+"), ""),  # what wraps a network (pixel input, half precision) calls it so
    (re.compile(r"^(.*?)\.?parametrizations\.weight\.\d+\.codes$"), r"\1.weight_quantized"),
    (re.compile(r"^(.*?)\.?parametrizations\.weight\.\d+\.scale$"), r"\1.weight_scale"),
    (re.compile(r"^(.*?)\.?parametrizations\.weight\.\d+\.factor$"), r"\1.weight_factor"),
    (re.compile(r"^(.*?)\.?parametrizations\.weight\.(\d+\.stored|original)$"), r"\1.weight"),
    (re.compile(r"^activation_quantizers\.(\w+)_grid\.(scale|zero_point)$"), r"\1_\2"),
    (re.compile(r"^(.*)\.(input|output)_quantizer\.(scale|zero_point)$"), r"\1.\2_\3"),
)


def name_constants(graph: onnx.GraphProto) -> None:
    """Rename initializers in place; a name that is taken already keeps the exporter's."""
    taken = {item.name for item in graph.initializer}
    renamed: dict[str, str] = {}
    for item in graph.initializer:
        name = item.name
        for pattern, replacement in _PATTERNS:
            name = pattern.sub(replacement, name)
        if name not in taken:
            taken.add(name)
            renamed[item.name] = name
            item.name = name
    for node in graph.node:
        for position, name in enumerate(node.input):
            node.input[position] = renamed.get(name, name)


def name_layers(graph: onnx.GraphProto) -> None:
    """Name each node with a weight after its module; the second call of a module gets `_2`, and so on."""
    index = GraphIndex(graph)
    taken: dict[str, int] = {}
    for node in graph.node:
        if node.op_type == "DequantizeLinear" or len(node.input) < 2:
            continue
        weight = _stored(index, node.input[1])
        if weight in index.constants and _WEIGHT.search(weight):
            name = _WEIGHT.sub("", weight)
            taken[name] = taken.get(name, 0) + 1
            node.name = name if taken[name] == 1 else f"{name}_{taken[name]}"


def _stored(index: GraphIndex, name: str) -> str:
    """Return the constant that a weight is made of: what is dequantized, or multiplied with factors of channels."""
    maker = index.producers.get(name)
    while maker is not None and maker.op_type in _DECODING:
        name = maker.input[0]
        maker = index.producers.get(name)
    return name
