"""Which ONNX operators do what: the tables behind the rules for MACs and activation memory."""

from typing import Final

# fmt: off
WITHOUT_MULTIPLY_ADDS: Final = frozenset({
    # elementwise
    "Abs", "Add", "And", "BatchNormalization", "BitShift", "Cast", "CastLike", "Ceil", "Celu", "Clip", "Cos", "Div",
    "Elu", "Equal", "Erf", "Exp", "Floor", "Gelu", "Greater", "GreaterOrEqual", "HardSigmoid", "HardSwish",
    "Identity", "IsInf", "IsNaN", "LeakyRelu", "Less", "LessOrEqual", "Log", "LogSoftmax", "Max", "Min", "Mish",
    "Mod", "Mul", "Neg", "Not", "Or", "PRelu", "Pow", "Reciprocal", "Relu", "Round", "Selu", "Sigmoid", "Sign", "Sin",
    "Softmax", "Softplus", "Softsign", "Sqrt", "Sub", "Sum", "Swish", "Tan", "Tanh", "ThresholdedRelu", "Where",
    "Xor", "Dropout", "QuickGelu",
    # reductions, pooling, normalisation
    "ArgMax", "ArgMin", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool", "LpPool", "MaxPool",
    "ReduceL1", "ReduceL2", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum",
    "ReduceSumSquare", "CumSum", "TopK", "InstanceNormalization", "GroupNormalization", "LayerNormalization",
    "LpNormalization", "LRN", "MeanVarianceNormalization", "RMSNormalization", "SimplifiedLayerNormalization",
    "SkipLayerNormalization",
    # moving and making data
    "Concat", "Constant", "ConstantOfShape", "DepthToSpace", "Expand", "EyeLike", "Flatten", "Gather",
    "GatherElements", "GatherND", "NonZero", "OneHot", "Pad", "Range", "Reshape", "Resize", "ScatterElements",
    "ScatterND", "Shape", "Size", "Slice", "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose", "Trilu",
    "Unsqueeze", "Upsample", "Compress", "ReorderInput", "ReorderOutput", "BitCast",
    # quantization
    "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "QLinearAdd", "QLinearMul", "QLinearConcat",
    "QLinearSigmoid", "QLinearLeakyRelu", "QLinearGlobalAveragePool", "QLinearAveragePool", "QLinearReduceMean",
    "QLinearSoftmax", "QLinearWhere",
})
"""Operators that cost no multiply-adds under the rule of `tinyml.measure.macs`."""

FUSED_OR_IN_PLACE: Final = frozenset({
    "BatchNormalization", "Celu", "Clip", "Dropout", "Elu", "Flatten", "HardSigmoid", "HardSwish", "Identity",
    "LeakyRelu", "PRelu", "Relu", "Reshape", "Sigmoid", "Squeeze", "Tanh", "Unsqueeze",
})
"""Operators with one activation that a runtime fuses or computes in place."""

OVERWRITES_AN_INPUT: Final = FUSED_OR_IN_PLACE | {"Add", "Sub", "Mul", "Div", "Sum", "Max", "Min"}
"""Operators that may write over an input of the size of their output."""

HAS_INTEGER_FORM: Final = frozenset({
    "Add", "AveragePool", "Clip", "Concat", "Conv", "Flatten", "Gemm", "GlobalAveragePool", "LeakyRelu", "MatMul",
    "MaxPool", "Mul", "Pad", "QuantizeLinear", "Relu", "Reshape", "Resize", "Sigmoid", "Slice", "Softmax", "Split",
    "Squeeze", "Transpose", "Unsqueeze",
})
"""Operators that read quantized tensors as they are: DequantizeLinear in front of them stores nothing."""
# fmt: on
