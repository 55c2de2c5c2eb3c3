import numpy as np
import pytest
import torch
import user_models
from random_task import random_context, random_task, trained, uncompressed
from torch import nn

from tinyml.errors import RecipeError, TinymlError
from tinyml.export import to_onnx
from tinyml.passes.base import Compressed
from tinyml.passes.half_precision import HalfPrecisionPass
from tinyml.runtime.session import logits, open_session
from tinyml.target import load_target

IMAGE = (3, 32, 32)
STEP = HalfPrecisionPass()


@pytest.fixture(scope="module")
def pair() -> tuple[Compressed, Compressed]:
    """mixed before and after the pass."""
    torch.manual_seed(0)
    before = uncompressed(trained(user_models.mixed()), IMAGE)
    context = random_context(IMAGE)
    STEP.requires(before, context)
    after = STEP.apply(before, context)
    STEP.ensures(before, after)
    return before, after


def outputs(module: nn.Module, x: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return module(torch.from_numpy(x)).numpy()


def test_every_parameter_is_half_and_the_output_is_float32(pair):
    after = pair[1].module
    assert {parameter.dtype for parameter in after.parameters()} == {torch.float16}
    assert outputs(after, random_task(IMAGE).train.x[:2]).dtype == np.float32


def test_the_results_stay_within_the_precision_of_ten_bits(pair):
    """Each of the six layers rounds weights, sums and outputs to 2^-11 of themselves: 18 roundings of a share of the range."""
    x = random_task(IMAGE).train.x[:16]
    expected = outputs(pair[0].module, x)
    assert np.abs(outputs(pair[1].module, x) - expected).max() <= 18 * 2**-11 * np.ptp(expected)


def test_batch_norms_are_folded(pair):
    assert not any(isinstance(module, nn.BatchNorm2d) for module in pair[1].module.modules())


def test_the_callers_model_stays_in_float(pair):
    assert {tensor.dtype for tensor in pair[0].module.state_dict().values()} == {torch.float32, torch.int64}


def test_the_file_stores_half_precision_and_agrees(pair):
    target = load_target("cuda")
    model = to_onnx(pair[1].module, input_shape=IMAGE, target=target)
    assert all(item.data_type == 10 for item in model.graph.initializer if len(item.dims) > 1)  # FLOAT16
    x = random_task(IMAGE).train.x[:8]
    expected = outputs(pair[1].module, x)
    # Both compute in half precision, but may add in another order.
    assert np.abs(logits(open_session(model.SerializeToString()), x) - expected).max() <= 18 * 2**-11 * np.ptp(expected)


def test_weights_that_half_precision_cannot_hold_are_refused_by_name():
    model = nn.Sequential(nn.Linear(2, 2))
    with torch.no_grad():
        model[0].weight[0, 1] = -7e4
    with pytest.raises(RecipeError, match=r"0\.weight holds 7e\+04, beyond float16's largest value 65504"):
        STEP.requires(uncompressed(model, (2,)), random_context((2,)))


def test_weights_that_overflow_when_norms_are_folded_break_the_promise():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)).eval()
    with torch.no_grad():
        model[0].weight.fill_(6e4)
        model[1].weight.fill_(10.0)
    before = uncompressed(model, (2,))
    with pytest.raises(TinymlError, match="not finite"):
        STEP.ensures(before, STEP.apply(before, random_context((2,))))


def test_a_parameter_left_in_float_breaks_the_promise(pair):
    with pytest.raises(TinymlError, match=r"left stem\.weight as torch\.float32"):
        STEP.ensures(pair[0], pair[0])


@pytest.mark.parametrize(("target", "said"), [("x86-vnni", ["not faster"]), ("cuda", [])], ids=["CPU", "GPU"])
def test_on_a_cpu_the_pass_says_that_the_file_is_not_faster(target: str, said: list[str]):
    model, context = (
        uncompressed(nn.Sequential(nn.Conv2d(3, 4, 3)), (3, 8, 8)),
        random_context((3, 8, 8), target=target),
    )
    left = HalfPrecisionPass().apply(model, context).left_alone
    assert [word in item.reason for item, word in zip(left, said, strict=True)] == [True] * len(said)
