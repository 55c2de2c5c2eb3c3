"""Keep a float layer between quantizers in float: onnxruntime would quantize its weight.

    DequantizeLinear -> Conv -> QuantizeLinear  ->  DequantizeLinear -> Conv -> Max -> QuantizeLinear

Its transformer WeightBiasQuantization rounds a float weight that stands so to 8 bits with one scale for the whole
tensor, unasked, so that a layer which a recipe excludes would run in integers all the same. Max of one value is that
value: it only breaks the pattern, and costs one copy of the layer's output.
"""

import onnx
from onnx import helper

from tinyml.export.rewrites.index import GraphIndex

_LAYERS = ("Conv", "ConvTranspose", "Gemm")


def keep_float_layers(graph: onnx.GraphProto) -> None:
    """Insert the Max behind every such layer, in place."""
    index = GraphIndex(graph)
    for layer in [node for node in graph.node if node.op_type in _LAYERS]:
        reader = index.only_reader(layer.output[0])
        if index.dequantizer(layer.input[0]) is None or index.dequantizer(layer.input[1]) is not None:
            continue
        if reader is not None and reader.op_type == "QuantizeLinear":
            kept = f"{layer.output[0]}_float"
            node = helper.make_node("Max", [layer.output[0]], [kept], name=kept)
            graph.node.insert(list(graph.node).index(reader), node)
            reader.input[0] = kept
