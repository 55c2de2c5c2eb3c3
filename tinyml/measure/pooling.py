"""Convolutions that compute means: an exporter writes so where integer kernels for pooling are slow."""

from onnx.onnx_ml_pb2 import NodeProto

from tinyml.measure.network import Network


def is_pooling(network: Network, node: NodeProto) -> bool:
    """Return whether a convolution learned nothing: the codes of its weight are one number in a shape.

    It is average pooling then (tinyml/export/rewrites/integer_pools.py) and counts as such.
    """
    if node.op_type != "Conv":
        return False
    decoder = network.producer(node.input[1])
    if decoder is None or decoder.op_type != "DequantizeLinear":
        return False
    codes = network.producer(decoder.input[0])
    return codes is not None and codes.op_type == "ConstantOfShape"
