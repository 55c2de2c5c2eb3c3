"""What the settings of linear_quantization come to: grids, files that keep them, and what is refused."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from random_task import random_context, random_task, trained, uncompressed
from small_network import SMALL, small
from small_quantized import quantize
from torch import Tensor, nn

from tinyml.errors import RecipeError, TargetError
from tinyml.export import to_onnx
from tinyml.export.rewrites.index import GraphIndex
from tinyml.layers.codebook import attach_codebook
from tinyml.layers.quantizers import weight_quantizers
from tinyml.numerics.clustering import nearest
from tinyml.passes.base import Compressed
from tinyml.passes.linear_quantization import Calibration, LayerSettings, LinearQuantization
from tinyml.runtime.session import logits, open_session
from tinyml.target import load_target


def grids(model: Compressed) -> dict[str, int]:
    return {name: quantizer.grid.q_max for name, (quantizer, _) in weight_quantizers(model.module).items()}


@pytest.mark.parametrize(("bits", "largest"), [(2, 1), (3, 3), (4, 7), (7, 63), (8, 64)])
@pytest.mark.parametrize("target", ["x86-avx2", "x86-vnni"])
def test_weights_have_the_bits_of_the_recipe(target: str, bits: int, largest: int):
    expected = 127 if (bits, target) == (8, "x86-vnni") else largest
    assert set(grids(quantize(small(), target=target, weight_bits=bits)).values()) == {expected}


def test_layers_may_have_bits_of_their_own():
    after = quantize(
        small(), weight_bits=2, layers={"0": LayerSettings(weight_bits=8), "5": LayerSettings(weight_bits=4)}
    )
    assert grids(after) == {"0": 64, "3": 1, "5": 7}


class Backwards(nn.Module):
    """Its modules stand in another order than it calls them."""

    def __init__(self) -> None:
        super().__init__()
        self.last, self.middle, self.first = nn.Linear(8, 10), nn.Linear(8, 8), nn.Linear(192, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.relu(self.middle(torch.relu(self.first(x.flatten(1))))))


@pytest.mark.parametrize("settings", [{}, {"weights_only": True}], ids=["integers", "weights only"])
def test_outer_layers_are_the_first_and_the_last_that_are_called(settings: dict):
    after = quantize(Backwards().eval(), target="x86-vnni", weight_bits=2, outer_bits=8, **settings)
    assert grids(after) == {"first": 127, "middle": 1, "last": 127}


def test_outer_bits_are_what_naming_both_layers_comes_to():
    named = quantize(
        small(), weight_bits=2, layers={"0": LayerSettings(weight_bits=8), "5": LayerSettings(weight_bits=8)}
    )
    outer = quantize(small(), weight_bits=2, outer_bits=8)
    assert outer.architecture == named.architecture
    states = outer.module.state_dict(), named.module.state_dict()
    assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())


def test_a_layers_own_bits_come_before_outer_bits():
    layers = {"0": LayerSettings(weight_bits=4), "5": LayerSettings(weight_range="full")}
    assert grids(quantize(small(), weight_bits=2, outer_bits=8, layers=layers)) == {"0": 7, "3": 1, "5": 127}


def test_a_layer_with_bits_of_its_own_keeps_the_weight_range_of_the_pass():
    after = quantize(small(), weight_range="full", layers={"0": LayerSettings(weight_bits=8)})
    assert set(grids(after).values()) == {127}


@pytest.mark.parametrize(
    ("settings", "values"),
    [(LayerSettings, {"weight_bits": 9}), (Calibration, {"method": "median"}), (Calibration, {"images": 0})],
    ids=["bits", "method", "images"],
)
def test_settings_made_in_python_are_checked_like_those_of_a_recipe(settings: type, values: dict):
    with pytest.raises(RecipeError, match=f"{settings.__name__}: {next(iter(values))}: "):
        settings(**values)


def exported(after: Compressed, target: str = "x86-vnni") -> onnx.ModelProto:
    return to_onnx(after.module, input_shape=SMALL, target=load_target(target))


def steps_apart(after: Compressed, file: onnx.ModelProto) -> float:
    """The largest difference of the file from the torch model, as a share of the range of the outputs."""
    x = random_task(SMALL).train.x[:32]
    with torch.no_grad():
        expected = after.module(torch.from_numpy(x)).numpy()
    return float(np.abs(logits(open_session(file.SerializeToString()), x) - expected).max() / np.ptp(expected))


@pytest.mark.parametrize("bits", [4, pytest.param(6, marks=pytest.mark.slow), 8, 16])
@pytest.mark.parametrize("target", ["x86-vnni", pytest.param("arm64", marks=pytest.mark.slow)])
def test_the_file_has_the_bits_of_the_activations(target: str, bits: int):
    after = quantize(small(), target=target, activation_bits=bits)
    file = exported(after, target)
    # Two sums may differ by rounding and fall into neighbouring codes, of a grid of so many bits.
    assert steps_apart(after, file) <= 2 / (2**bits - 1)
    index, quantizers = GraphIndex(file.graph), [n for n in file.graph.node if n.op_type == "QuantizeLinear"]
    readers = {reader.op_type for node in quantizers for reader in index.consumers[node.output[0]]}
    assert readers == {"DequantizeLinear" if bits in (8, 16) else "Clip"}
    assert {index.array(node.input[2]).dtype.itemsize for node in quantizers} == {2 if bits == 16 else 1}


def test_16_bit_activations_are_listed_as_running_in_float():
    after = quantize(small(), activation_bits=16)
    assert {item.module for item in after.left_alone} == {"0", "3", "5"}
    assert all("no kernel for 16-bit" in item.reason for item in after.left_alone)


SCHEMES = [
    (granularity, scheme) for granularity in ("tensor", "channel", "group") for scheme in ("symmetric", "asymmetric")
]


@pytest.mark.parametrize(("granularity", "scheme"), SCHEMES)
def test_weights_alone_are_decoded_when_the_file_is_loaded(granularity: str, scheme: str):
    after = quantize(
        small(), target="cuda", weights_only=True, weight_bits=4, granularity=granularity, weight_scheme=scheme
    )
    file = exported(after)
    assert steps_apart(after, file) < 1e-5  # float32 sums in another order
    assert not {"QuantizeLinear", "DequantizeLinear"} & {node.op_type for node in file.graph.node}
    assert {item.module for item in after.left_alone} == {"0", "3", "5"}
    assert all(item.reason.startswith("quantized weights, run in float: ") for item in after.left_alone)


def test_layers_with_groups_keep_their_names_in_the_file():
    file = exported(quantize(small(), target="cuda", weights_only=True, granularity="group", group_size=4))
    assert {node.name for node in file.graph.node if node.op_type in ("Conv", "Gemm")} == {"0", "3", "5"}


INT4 = {"x86-vnni": "no integer kernel for INT4; choose weight_storage: packed", "cuda": "decoded on every run"}


@pytest.mark.parametrize("target", INT4)
def test_a_target_may_ask_for_int4_and_what_then_runs_in_float_is_listed(target: str):
    asks = replace(load_target(target), weight_storage="int4")
    step = LinearQuantization(weight_bits=4, outer_bits=8, weights_only=target == "cuda")
    before = uncompressed(small(), SMALL)
    after = step.apply(before, replace(random_context(SMALL), target=asks))
    listed = {item.module: item.reason for item in after.left_alone}
    assert INT4[target] in listed["3"]
    assert all("INT4" not in listed.get(outer, "") for outer in "05")
    file = to_onnx(after.module, input_shape=SMALL, target=asks)
    small_types = {item.name for item in file.graph.initializer if item.data_type == onnx.TensorProto.INT4}
    assert small_types == {"3.weight_quantized"}
    assert steps_apart(after, file) <= 2 / 255


def test_an_asymmetric_tensor_runs_in_integers():
    after = quantize(small(), target="x86-vnni", granularity="tensor", weight_scheme="asymmetric")
    assert steps_apart(after, exported(after)) <= 2 / 255


def test_weights_alone_need_no_images():
    step, context = LinearQuantization(weights_only=True), replace(random_context(SMALL), task=None)
    before = uncompressed(small(), SMALL)
    step.requires(before, context)
    assert list(weight_quantizers(step.apply(before, context).module)) == ["0", "3", "5"]


@pytest.mark.parametrize(
    ("settings", "cure"),
    [
        ({"granularity": "group"}, "choose granularity channel, or give weights_only"),
        ({"weight_scheme": "asymmetric"}, "choose granularity tensor"),
        ({"group_size": 8}, "group_size: 8 has no effect on granularity channel; give granularity: group, or leave"),
        ({"weights_only": True, "activation_bits": 16}, "activation_bits: 16 has no effect beside weights_only: true"),
        ({"weights_only": True, "calibration": Calibration(images=9)}, "calibration has no effect .* bias_correction"),
        ({"weight_bits": 1}, "greater than or equal to 2"),
        ({"weight_bits": 9}, "less than or equal to 8"),
        ({"activation_bits": 3}, "4, 5, 6, 7, 8 or 16"),
    ],
)
def test_settings_that_no_kernel_can_keep_are_refused(settings: dict, cure: str):
    with pytest.raises(RecipeError, match=cure):
        LinearQuantization(**settings)


def test_bias_correction_calibrates_weights_alone():
    step = LinearQuantization(weights_only=True, bias_correction=True, calibration=Calibration(images=9))
    assert step.calibration.images == 9


@pytest.mark.parametrize(
    ("settings", "cure"),
    [
        ({"activation_bits": 6}, "has no 6-bit activations; choose activation_bits: 8"),
        ({"granularity": "tensor", "weight_scheme": "asymmetric"}, "choose weight_scheme: symmetric"),
    ],
)
def test_what_the_runtime_of_the_target_lacks_is_refused_with_the_nearest(settings: dict, cure: str):
    with pytest.raises(TargetError, match=f"target 'tensorrt' .*{cure}"):
        quantize(small(), target="tensorrt", **settings)


def test_a_model_without_a_layer_to_quantize_is_refused():
    with pytest.raises(RecipeError, match="there is no layer to quantize: the model has no Conv1d, Conv2d, Linear"):
        quantize(nn.Sequential(nn.Flatten(), nn.ReLU()))


def test_16_bits_need_an_opset_that_has_them():
    context = random_context(SMALL)
    context = replace(context, target=replace(context.target, opset=20))
    with pytest.raises(TargetError, match=r"16-bit activations need opset 21.*choose activation_bits: 8"):
        LinearQuantization(activation_bits=16).requires(uncompressed(small(), SMALL), context)


@pytest.mark.parametrize("norm", [True, False], ids=["BatchNorm behind it", "none"])
def test_behind_a_codebook_codes_are_as_few_as_centroids(norm: bool):
    model = trained(small())
    attach_codebook(model[3], groups=1, centroids=4, keeps_zeros=False, training_mode="mean", reassign_every=0)
    centroids = torch.tensor([[-0.1, -0.03, 0.02, 0.15]])
    model[3].parametrizations.weight[0].fit(centroids, nearest(model[3].parametrizations.weight.original, centroids))
    model.insert(4, nn.BatchNorm2d(4) if norm else nn.Identity())
    after = quantize(trained(model))
    quantizer, weight = weight_quantizers(after.module)["3"]
    quantizer.freeze(weight)
    kinds = [type(each).__name__ for each in after.module.get_submodule("3").parametrizations.weight]
    assert kinds == ["Codebook", *(["ChannelScale"] if norm else []), "WeightQuantizer"]
    assert len(quantizer.codes.unique()) <= 4
    assert not any(isinstance(module, nn.BatchNorm2d) for module in after.module.modules())
    assert steps_apart(after, exported(after)) <= 2 / 255


def test_a_layer_that_is_left_out_between_others_runs_in_float():
    torch.manual_seed(0)
    layers = (nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3))
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with torch.no_grad():
        model[2].weight[0] *= 100  # 8 bits for the whole tensor, as onnxruntime would take, lose the other channels
    after = quantize(model, exclude=("2",))
    assert steps_apart(after, exported(after)) <= 2 / 255
