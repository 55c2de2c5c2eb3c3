from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import user_models
from onnx import numpy_helper
from packed_models import content, optimised
from random_task import quantized, random_task, trained
from torch import Tensor, nn
from torch.nn.utils import parametrize

from tinyml.errors import TinymlError
from tinyml.export import to_onnx
from tinyml.export.rewrites.index import GraphIndex
from tinyml.layers.mask import attach_mask
from tinyml.layers.operators import as_stored
from tinyml.passes.base import Compressed
from tinyml.runtime.session import logits, open_session
from tinyml.target import load_target

IMAGE = (3, 32, 32)
AVX2 = load_target("x86-avx2")


@pytest.fixture(scope="module")
def mixed() -> Compressed:
    torch.manual_seed(0)
    return quantized(trained(user_models.mixed()), IMAGE)


@pytest.fixture(scope="module")
def shipped(mixed: Compressed) -> onnx.ModelProto:
    return to_onnx(mixed.module, input_shape=IMAGE, target=AVX2)


def arrays(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}


def test_the_graph_is_valid_and_stamped_by_the_target(shipped: onnx.ModelProto):
    onnx.checker.check_model(shipped, full_check=True)
    assert [(item.domain, item.version) for item in shipped.opset_import] == [("", AVX2.opset)]
    assert shipped.ir_version == AVX2.ir_version


def test_input_and_output_have_the_agreed_names_and_a_free_batch(shipped: onnx.ModelProto):
    ((given,), (taken,)) = (shipped.graph.input, shipped.graph.output)
    assert (given.name, taken.name) == ("input", "output")
    assert [size.dim_value for size in given.type.tensor_type.shape.dim] == [0, *IMAGE]
    session = open_session(shipped.SerializeToString())
    for batch in (1, 5):
        assert session.run(np.zeros((batch, *IMAGE), np.float32))["output"].shape == (batch, 10)


def test_the_file_holds_no_trace_of_the_source(shipped: onnx.ModelProto):
    parts = (shipped, shipped.graph, *shipped.graph.node, *shipped.graph.input, *shipped.graph.initializer)
    assert not any(part.doc_string or len(part.metadata_props) for part in parts)
    assert b".py" not in shipped.SerializeToString()
    assert len(shipped.functions) == 0


def test_every_weight_is_int8_and_none_is_left_in_float(shipped: onnx.ModelProto):
    found = arrays(shipped)
    weights = {name: array for name, array in found.items() if name.endswith(".weight_quantized")}
    assert sorted(weights) == [f"{name}.weight_quantized" for name in ("depthwise", "grouped", "head", "stem", "twice")]
    assert all(array.dtype == np.int8 for array in weights.values())
    floats = [array for array in found.values() if array.dtype == np.float32]
    assert max(array.ndim for array in floats) == 1  # scales


def test_the_codes_and_scales_are_those_of_the_torch_model(mixed: Compressed, shipped: onnx.ModelProto):
    found = arrays(shipped)
    weight = mixed.module.get_submodule("stem").weight.detach().numpy()
    scale = found["stem.weight_scale"].reshape(-1, 1, 1, 1)
    assert np.array_equal(found["stem.weight_quantized"] * scale, weight)


def test_biases_are_int32_on_the_scale_of_input_times_weight(shipped: onnx.ModelProto):
    index = GraphIndex(shipped.graph)
    layers = [node for node in shipped.graph.node if node.op_type in ("Conv", "Gemm")]
    assert len(layers) == 6
    for node in layers:
        data, weight, bias = (index.dequantizer(name) for name in node.input)
        assert index.array(bias.input[0]).dtype == np.int32
        expected = index.array(data.input[1]) * index.array(weight.input[1])
        assert np.array_equal(index.array(bias.input[1]), expected)


def test_no_rectifier_stands_before_a_quantizer(shipped: onnx.ModelProto):
    assert not {"Relu", "Clip", "Transpose", "Identity"} & {node.op_type for node in shipped.graph.node}


def test_the_runtime_fuses_everything_into_integer_kernels(shipped: onnx.ModelProto, tmp_path):
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 4
    onnxruntime.InferenceSession(shipped.SerializeToString(), options, providers=["CPUExecutionProvider"])
    fused = [node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node]
    assert fused.count("QLinearConv") == 5
    assert {"QLinearAdd", "QLinearConcat", "QLinearGlobalAveragePool", "QGemm"} <= set(fused)
    assert not {"Conv", "Gemm", "MatMul", "Add"} & set(fused)


def test_two_exports_are_the_same_bytes(mixed: Compressed, shipped: onnx.ModelProto):
    again = to_onnx(mixed.module, input_shape=IMAGE, target=AVX2)
    assert again.SerializeToString() == shipped.SerializeToString()


def test_exporting_changes_nothing_in_the_model():
    after = quantized(nn.Sequential(nn.Conv2d(3, 4, 3)), (3, 8, 8)).module.train()
    before = {name: tensor.clone() for name, tensor in after.state_dict().items()}
    to_onnx(after, input_shape=(3, 8, 8), target=AVX2)
    assert all(torch.equal(tensor, before[name]) for name, tensor in after.state_dict().items())
    assert after.training


def test_a_float_model_gives_the_same_results_in_onnxruntime():
    torch.manual_seed(0)
    model = trained(user_models.mixed())
    session = open_session(to_onnx(model, input_shape=IMAGE, target=load_target("cuda")).SerializeToString())
    x = random_task(IMAGE).train.x[:8]
    with torch.no_grad():
        expected = model(torch.from_numpy(x)).numpy()
    # The contract's bound for float32 files: 1e-3 of the logits' range; sums in another order reach about 1e-6.
    assert np.abs(logits(session, x) - expected).max() <= 1e-5 * np.ptp(expected)


@pytest.mark.parametrize("opset", [19, 21, 23])
def test_the_opset_is_the_targets(opset: int):
    after = quantized(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2)), (3, 8, 8))
    model = to_onnx(after.module, input_shape=(3, 8, 8), target=replace(AVX2, opset=opset, ir_version=11))
    assert [item.version for item in model.opset_import] == [opset]
    assert model.ir_version == 11
    x = random_task((3, 8, 8)).train.x[:4]
    with torch.no_grad():
        expected = after.module(torch.from_numpy(x)).numpy()
    assert np.abs(open_session(model.SerializeToString()).run(x)["output"] - expected).max() <= np.ptp(expected) / 255


def small_network() -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10)
    )
    return trained(model)


@pytest.mark.parametrize("name", ["x86-vnni", "arm64", "tensorrt"])
def test_a_file_for_another_target_computes_what_its_torch_model_computes(name: str):
    after, target = quantized(small_network(), (3, 8, 8), target=name).module, load_target(name)
    model = to_onnx(after, input_shape=(3, 8, 8), target=target)
    x = random_task((3, 8, 8)).train.x[:16]
    with torch.no_grad():
        expected = after(torch.from_numpy(x)).numpy()
    # As it is written, in float: this machine's integer kernels may saturate. A tie may take the neighbouring code.
    found = open_session(model.SerializeToString(), optimized=False).run(x)["output"]
    assert np.abs(found - expected).max() <= np.ptp(expected) / 255


def test_a_file_for_tensorrt_has_zero_points_of_zero_and_float_biases():
    after = quantized(small_network(), (3, 8, 8), target="tensorrt").module
    found = arrays(to_onnx(after, input_shape=(3, 8, 8), target=load_target("tensorrt")))
    zero_points = [array for name, array in found.items() if name.endswith("zero_point")]
    assert {array.dtype for array in zero_points} == {np.dtype(np.int8)}
    assert not any(array.any() for array in zero_points)
    assert not any(array.dtype == np.int32 for array in found.values())


def test_a_dropout_does_not_keep_a_layer_from_its_integer_kernel():
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 8), nn.ReLU(), nn.Dropout(), nn.Linear(8, 2))
    graph = to_onnx(quantized(model, (3, 8, 8)).module, input_shape=(3, 8, 8), target=AVX2).graph
    index = GraphIndex(graph)
    layers = [node for node in graph.node if node.op_type == "Gemm"]
    assert len(layers) == 2
    assert all(index.dequantizer(name) is not None for node in layers for name in node.input)


def test_a_model_that_cannot_be_exported_is_refused_in_one_line():
    class Branching(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x if x.sum() > 0 else -x

    with pytest.raises(TinymlError, match="the model cannot be exported to ONNX: ") as caught:
        to_onnx(Branching(), input_shape=IMAGE, target=AVX2)
    assert "\n" not in str(caught.value)


def test_a_masked_weight_is_a_plain_constant_with_zeros():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(144, 10)).eval()
    for name, zeros in (("0", 70), ("2", 1000)):
        layer = model.get_submodule(name)
        attach_mask(layer, structure="unstructured", ramp=0.0).aim(layer.weight.detach(), start=0, zeros=zeros)
    shipped = to_onnx(model, input_shape=(3, 8, 8), target=AVX2, nonzeros="dense")
    found = arrays(shipped)
    assert [node.op_type for node in shipped.graph.node] == ["Conv", "Reshape", "Gemm"]
    assert {name: int((found[f"{name}.weight"] == 0).sum()) for name in "02"} == {"0": 70, "2": 1000}
    assert model[0].parametrizations.weight[0].masked == 70  # the model that was exported keeps its masks


class Stored(nn.Module):
    """A parametrization that lets a weight through as it must be stored."""

    def forward(self, weight: Tensor) -> Tensor:
        kept: Tensor = as_stored(weight) if torch.compiler.is_exporting() else weight
        return kept


def clustered() -> nn.Module:
    """Convolutions with BatchNorm, one of them 1-D behind a reshape, and a linear layer, of four values each."""
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 16, 3, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.Flatten(2), nn.Conv1d(16, 24, 3)
    model = trained(nn.Sequential(*layers, nn.BatchNorm1d(24), nn.ReLU(), nn.Flatten(), nn.Linear(24 * 34, 10)))
    for name in ("0", "4", "8"):
        weight = model.get_submodule(name).weight
        weight.data = torch.tensor([-0.2, -0.05, 0.05, 0.2])[torch.randint(4, weight.shape)]
    return model


def test_nothing_is_folded_into_a_weight_that_keeps_its_values(tmp_path):
    model, x = clustered(), torch.randn(4, 3, 8, 8)
    folded = to_onnx(model, input_shape=(3, 8, 8), target=AVX2)
    for name in ("0", "4", "8"):
        parametrize.register_parametrization(model.get_submodule(name), "weight", Stored())
    kept = to_onnx(model, input_shape=(3, 8, 8), target=AVX2)
    tables = {name: array.size for name, array in arrays(kept).items() if name.endswith("_codebook")}
    assert tables == {"0.weight_codebook": 4, "4.weight_codebook": 4, "8.weight_codebook": 4}
    assert arrays(folded)["4.weight_codebook"].shape == (24, 4)  # other values in every channel
    assert content(optimised(kept, tmp_path))[0] == content(optimised(folded, tmp_path))[0]
    with torch.no_grad():
        expected = model(x).numpy()
    # The contract's bound for float32 files; the factor is applied before the sums in place of after them.
    assert np.abs(logits(open_session(kept.SerializeToString()), x.numpy()) - expected).max() <= 1e-5 * np.ptp(expected)
