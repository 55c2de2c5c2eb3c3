"""Give constants the names of the modules they belong to: `layer1.0.conv1.weight`, `..._quantized`, `..._scale`."""

import re

import onnx

_PATTERNS = (
    (re.compile(r"^(wrapped_network\.)+"), ""),  # what wraps a network (pixel input, half precision) calls it so
    (re.compile(r"^(.*?)\.?parametrizations\.weight\.\d+\.codes$"), r"\1.weight_quantized"),
    (re.compile(r"^(.*?)\.?parametrizations\.weight\.\d+\.scale$"), r"\1.weight_scale"),
    (re.compile(r"^(.*?)\.?parametrizations\.weight\.original$"), r"\1.weight"),
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
