"""Rewrites of the exporter's graph into the graph that ships: one a file, applied in this order, each exact."""

import onnx

from tinyml.export.rewrites.barriers import remove_barriers
from tinyml.export.rewrites.batch_normalizations import scale_stored_weights
from tinyml.export.rewrites.constant_weights import transpose_constant_weights
from tinyml.export.rewrites.decoded_weights import decode_float_weights
from tinyml.export.rewrites.defaults import drop_default_attributes
from tinyml.export.rewrites.float_layers import keep_float_layers
from tinyml.export.rewrites.four_bit_weights import store_four_bits
from tinyml.export.rewrites.integer_biases import quantize_biases
from tinyml.export.rewrites.names import name_constants, name_layers
from tinyml.export.rewrites.pools import name_global_pools
from tinyml.export.rewrites.rectifiers import remove_redundant_rectifiers
from tinyml.export.rewrites.slices import join_slices
from tinyml.export.rewrites.tidy import remove_unused, strip_metadata
from tinyml.export.rewrites.zero_points import write_zero_points

REWRITES = (
    strip_metadata,
    name_constants,
    scale_stored_weights,
    remove_barriers,
    transpose_constant_weights,
    store_four_bits,
    decode_float_weights,
    name_global_pools,
    join_slices,
    remove_redundant_rectifiers,
    keep_float_layers,
    quantize_biases,
    write_zero_points,
    remove_unused,
    drop_default_attributes,
    name_layers,
)


def rewrite(
    model: onnx.ModelProto, *, ir_version: int, integer_biases: bool = True, int4_weights: bool = False
) -> None:
    """Apply every rewrite in place and stamp the model.

    Args:
        model: what torch's exporter made.
        ir_version: of the file.
        integer_biases: whether biases become int32; otherwise they stay in float.
        int4_weights: whether weight codes of 4 bits or fewer become INT4; otherwise they stay int8.
    """
    left_out = {quantize_biases: not integer_biases, store_four_bits: not int4_weights}
    for step in REWRITES:
        if not left_out.get(step, False):
            step(model.graph)
    del model.metadata_props[:]
    del model.functions[:]
    used = {node.domain for node in model.graph.node} | {""}
    kept = [item for item in model.opset_import if item.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    model.ir_version = ir_version
    model.producer_name, model.producer_version, model.doc_string = "tinyml", "", ""
