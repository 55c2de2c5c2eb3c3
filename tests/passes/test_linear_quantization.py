import inspect
from dataclasses import replace
from fnmatch import fnmatchcase

import numpy as np
import onnx
import pytest
import torch
import user_models
from onnx import numpy_helper
from random_task import quantized, random_context, random_task, trained, uncompressed
from small_network import SMALL, small
from small_quantized import quantize
from torch import Tensor, nn

from tinyml.architecture import build
from tinyml.data import Split
from tinyml.errors import DataError, RecipeError, TargetError, TinymlError
from tinyml.export import to_onnx
from tinyml.export.rewrites.index import GraphIndex
from tinyml.graph.capture import LeftAlone
from tinyml.graph.operations import WEIGHTED
from tinyml.layers.quantizers import ActivationQuantizer, weight_quantizers
from tinyml.numerics.saturation import largest_pair_sum
from tinyml.passes.base import Compressed
from tinyml.passes.linear_quantization import LayerSettings, LinearQuantization
from tinyml.runtime.session import logits, open_session
from tinyml.target import load_target

IMAGE = (3, 32, 32)
SHAPES = {"signal": (1, 128)}
FACTORIES = [
    pytest.param(name, marks=[] if name in ("mixed", "mlp", "data_dependent") else [pytest.mark.slow])
    for name, factory in inspect.getmembers(user_models, inspect.isfunction)
    if factory.__module__ == "user_models"
]


class Finished:
    """A user's model after quantization and export."""

    def __init__(self, name: str) -> None:
        torch.manual_seed(0)
        self.name, self.shape = name, SHAPES.get(name, IMAGE)
        self.model = trained(getattr(user_models, name)())
        self.before = {key: tensor.clone() for key, tensor in self.model.state_dict().items()}
        self.after = quantized(self.model, self.shape, factory=f"user_models:{name}")
        self.file = to_onnx(self.after.module, input_shape=self.shape, target=load_target("x86-avx2"))
        self.x = random_task(self.shape).train.x[:32]

    def outputs(self, module: nn.Module) -> np.ndarray:
        with torch.no_grad():
            return module(torch.from_numpy(self.x)).numpy()


@pytest.fixture(scope="module", params=FACTORIES)
def finished(request: pytest.FixtureRequest) -> Finished:
    return Finished(request.param)


def test_the_file_agrees_with_the_torch_model(finished: Finished):
    """Two steps of an 8-bit grid over the logits: sums in another order may put a value that lies on a tie into the
    neighbouring code, and one code of the last layer's input counts for less than a step of its output."""
    expected = finished.outputs(finished.after.module)
    found = logits(open_session(finished.file.SerializeToString()), finished.x)
    assert np.abs(found - expected).max() <= 2 / 255 * np.ptp(expected)


def test_the_quantized_model_is_near_the_float_model(finished: Finished):
    expected = finished.outputs(finished.model)
    assert np.abs(finished.outputs(finished.after.module) - expected).max() <= 0.1 * np.ptp(expected)


def test_the_callers_model_is_untouched(finished: Finished):
    after = finished.model.state_dict()
    assert list(after) == list(finished.before)
    assert all(torch.equal(after[key], tensor) for key, tensor in finished.before.items())


def test_it_is_rebuilt_from_its_architecture_and_weights(finished: Finished):
    rebuilt = build(finished.after.architecture)
    rebuilt.load_state_dict(finished.after.module.state_dict(), strict=True)
    assert np.array_equal(finished.outputs(rebuilt), finished.outputs(finished.after.module))


def test_every_layer_is_integer_in_the_file_or_listed_as_left_alone(finished: Finished):
    stored = {item.name: item.data_type for item in finished.file.graph.initializer}
    listed = [item.module for item in finished.after.left_alone]
    for name, module in finished.model.named_modules():
        if isinstance(module, WEIGHTED):
            assert stored.get(f"{name}.weight_quantized") == onnx.TensorProto.INT8 or name in listed
        elif isinstance(module, nn.ConvTranspose2d | nn.MultiheadAttention):
            assert name in listed


def test_every_integer_weight_meets_an_integer_input(finished: Finished):
    index = GraphIndex(finished.file.graph)
    for node in finished.file.graph.node:
        weight = index.dequantizer(node.input[1]) if node.op_type in ("Conv", "Gemm", "MatMul") else None
        if weight is not None and weight.input[0] in index.constants:
            assert index.dequantizer(node.input[0]) is not None


def test_no_two_weights_of_a_channel_saturate_the_kernel(finished: Finished):
    for item in finished.file.graph.initializer:
        if item.name.endswith("weight_quantized"):
            codes = torch.from_numpy(numpy_helper.to_array(item).copy())
            transposed = codes.ndim == 2 and codes.shape[0] != dict(finished.model.named_modules())[
                item.name.removesuffix(".weight_quantized")
            ].weight.shape[0]  # fmt: skip
            assert int(largest_pair_sum(codes.T if transposed else codes).max()) <= 128


def largest_code(model: Compressed) -> int:
    for quantizer, weight in weight_quantizers(model.module).values():
        quantizer.freeze(weight)
    return max(int(quantizer.codes.abs().max()) for quantizer, _ in weight_quantizers(model.module).values())


@pytest.mark.parametrize(
    ("target", "weight_range", "largest"),
    [("x86-avx2", "target", 64), ("x86-avx2", "full", 127), ("x86-vnni", "target", 127), ("arm64", "target", 127)],
)
def test_weight_codes_fill_the_range_that_the_target_adds_safely(target: str, weight_range: str, largest: int):
    assert largest_code(quantize(small(), target=target, weight_range=weight_range)) == largest


@pytest.mark.parametrize(
    ("target", "dtype", "symmetric"),
    [("x86-avx2", torch.uint8, False), ("arm64", torch.int8, False), ("tensorrt", torch.int8, True)],
)
def test_activations_have_the_targets_type(target: str, dtype: torch.dtype, symmetric: bool):
    zero_points = {
        name: tensor
        for name, tensor in quantize(small(), target=target).module.state_dict().items()
        if "zero_point" in name
    }
    assert {tensor.dtype for tensor in zero_points.values()} == {dtype}
    assert all(int(tensor) == 0 for tensor in zero_points.values()) is symmetric


@pytest.mark.parametrize(
    ("patterns", "quantized_layers"),
    [
        ({}, ["0", "3", "5"]),
        ({"exclude": ("5",)}, ["0", "3"]),
        ({"include": ("[03]",)}, ["0", "3"]),
    ],
    ids=["all", "one excluded", "two included"],
)
def test_patterns_choose_the_layers_and_the_others_are_listed(patterns: dict, quantized_layers: list[str]):
    after = quantize(small(), **patterns)
    assert list(weight_quantizers(after.module)) == quantized_layers
    assert [item.module for item in after.left_alone] == [name for name in "035" if name not in quantized_layers]
    assert all("recipe's" in item.reason for item in after.left_alone)
    assert all(fnmatchcase(name, pattern) for name in quantized_layers for pattern in patterns.get("include", ()))


def test_patterns_that_leave_nothing_to_quantize_are_refused():
    with pytest.raises(RecipeError, match="leave no layer to quantize; widen one of them"):
        quantize(small(), exclude=("*",))


def test_one_layer_may_use_the_full_range_where_the_others_keep_the_reduced_one():
    after = quantize(small(), target="x86-avx2", layers={"3": LayerSettings(weight_range="full")})
    largest = {name: quantizer.grid.q_max for name, (quantizer, _) in weight_quantizers(after.module).items()}
    assert largest == {"0": 64, "3": 127, "5": 64}


def test_a_pattern_that_matches_nothing_is_refused_with_the_nearest_name():
    with pytest.raises(RecipeError, match=r"pattern 'steam' matches no layer\. Did you mean 'stem'"):
        quantize(user_models.mixed(), exclude=("steam",))


def test_a_target_without_integer_kernels_is_refused_with_its_reason():
    with pytest.raises(TargetError, match="target 'cuda' has no integer kernels: onnxruntime's CUDA provider"):
        quantize(small(), target="cuda")


def test_a_model_that_is_quantized_already_is_refused():
    with pytest.raises(RecipeError, match="already quantized"):
        quantize(quantize(small()).module)


def test_a_run_without_data_is_refused():
    context = replace(random_context(SMALL), task=None)
    with pytest.raises(DataError, match="needs images to calibrate on: give --data"):
        LinearQuantization().requires(uncompressed(small(), SMALL), context)


def test_weights_that_are_not_finite_are_refused_with_their_place():
    model = small()
    model[3].weight.data[0, 0, 0, 0] = float("nan")
    with pytest.raises(RecipeError, match="the weights of '3' hold NaN or Inf; check the checkpoint"):
        quantize(model)


def test_a_value_that_overflows_is_refused_with_its_place():
    model = small()
    for layer in (model[0], model[3]):
        layer.weight.data.mul_(1e30)
    with pytest.raises(DataError, match="the value at '_3' is not finite"):
        quantize(model)


def test_images_that_are_not_finite_are_refused():
    task = random_task(SMALL)
    x = task.train.x.copy()
    x[:, 0, 0, 0] = np.inf
    object.__setattr__(task, "train", Split(x=x, y=task.train.y, source="broken"))
    with pytest.raises(DataError, match="NaN or Inf"):
        LinearQuantization().apply(uncompressed(small(), SMALL), random_context(SMALL, task=task))


class Switching(nn.Module):
    """Uses one layer for single images and another for batches."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.many = nn.Linear(4, 2), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.one(x) if len(x) == 1 else self.many(x)


def test_a_layer_that_no_calibration_image_reaches_is_refused():
    with pytest.raises(DataError, match=r"no calibration image reaches one\.input_quantizer; exclude"):
        quantize(Switching(), shape=(4,))


@pytest.mark.parametrize(
    "computed",
    [nn.utils.parametrizations.weight_norm, nn.utils.parametrizations.spectral_norm],
    ids=["weight", "spectral"],
)
def test_a_layer_whose_weight_is_computed_is_left_alone_with_the_reason(computed):
    model = nn.Sequential(computed(nn.Conv2d(3, 4, 3)), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 3))
    after = quantize(trained(model))
    assert after.left_alone == (
        LeftAlone(module="0", reason="its weight is computed from other parameters (weight norm, spectral norm)"),
        LeftAlone(module="1", reason="BatchNorm2d stays in float"),
    )
    assert list(weight_quantizers(after.module)) == ["3"]


def test_a_model_that_does_not_trace_at_all_is_quantized_layer_by_layer():
    torch.manual_seed(0)
    after = quantize(user_models.Branching().eval(), shape=IMAGE)
    assert list(weight_quantizers(after.module)) == ["conv1", "conv2"]
    assert after.left_alone[0].module == ""


def test_layers_that_share_a_weight_still_share_it_and_agree():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 16))
    model[3].weight = model[1].weight
    after = quantize(model, shape=(1, 4, 4)).module
    assert torch.equal(after.get_submodule("1").weight, after.get_submodule("3").weight)


@pytest.mark.parametrize("factor", [float("nan"), -1.0, 0.0], ids=["NaN", "negative", "zero"])
def test_a_scale_that_breaks_the_promise_is_found(factor: float):
    before, after = uncompressed(small(), SMALL), quantize(small())
    weight_quantizers(after.module)["0"][0].scale.data[1] *= factor
    with pytest.raises(TinymlError, match=r"0\.weight: a scale is not positive"):
        LinearQuantization().ensures(before, after)


def test_an_activation_whose_scale_is_not_positive_is_found():
    before, after = uncompressed(small(), SMALL), quantize(small())
    next(each for each in after.module.modules() if isinstance(each, ActivationQuantizer)).scale.data.zero_()
    with pytest.raises(TinymlError, match=r"the scale of activation_quantizers.*is 0, not positive"):
        LinearQuantization().ensures(before, after)


def test_the_same_seed_gives_the_same_model():
    first, second = quantize(small()), quantize(small())
    assert first.architecture == second.architecture
    assert all(
        torch.equal(tensor, second.module.state_dict()[name]) for name, tensor in first.module.state_dict().items()
    )
