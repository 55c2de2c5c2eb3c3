import copy

import pytest
import torch
import user_models
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from tinyml.graph.capture import capture
from tinyml.layers.exit_heads import (
    ExitSpec,
    attach_exits,
    conv_macs,
    halved,
    has_exits,
    head_fault,
    head_parameters,
    make_head,
)


def spec(head: str = "pooled", shape: tuple[int, ...] = (6, 8, 8), **more: object) -> ExitSpec:
    chosen = {"node": "relu", "name": "stem", "channels_last": False, "hidden": 0, "classes": 3, **more}
    return ExitSpec(head=head, shape=shape, **chosen)  # type: ignore[arg-type]  # handed through


@given(height=st.integers(1, 40), width=st.integers(1, 40))
def test_pooling_gives_four_by_four_or_what_is_smaller_and_reads_every_element(height, width):
    head = make_head(spec(shape=(1, height, width)))
    x = torch.zeros(1, 1, height, width, requires_grad=True)
    pooled = head[:-1](x)
    assert pooled.shape == (1, min(height, 4) * min(width, 4))
    (gradient,) = torch.autograd.grad(pooled.sum(), x)
    assert (gradient > 0).all()


@pytest.mark.parametrize("size", [4, 8, 16, 56])
def test_pooling_of_four_times_a_number_is_adaptive_pooling(size):
    x = torch.randn(2, 6, size, size, generator=torch.Generator().manual_seed(0))
    expected = functional.adaptive_avg_pool2d(x, 4).flatten(1)
    torch.testing.assert_close(make_head(spec(shape=(6, size, size)))[:-1](x), expected)


@pytest.mark.parametrize(
    ("made", "features"),
    [
        pytest.param(spec("flatten"), 6 * 64, id="flatten"),
        pytest.param(spec("conv", hidden=5), 5 * 16, id="conv: 4x4 behind stride 2"),
        pytest.param(spec("conv", (6, 32, 32), hidden=5), 5 * 16, id="conv: pooled to 8x8 before"),
        pytest.param(spec("pooled", (6, 128)), 6 * 4, id="signals"),
        pytest.param(spec("conv", (6, 128), hidden=5), 5 * 4, id="signals, conv"),
        pytest.param(spec("pooled", (50, 6), channels_last=True), 6 * 4, id="tokens"),
        pytest.param(spec("conv", (50, 6), channels_last=True, hidden=5), 5 * 4, id="tokens, conv"),
        pytest.param(spec("flatten", (50, 6), channels_last=True), 300, id="tokens, flatten"),
        pytest.param(spec("pooled", (8, 8, 6), channels_last=True), 6 * 16, id="images with channels last"),
        pytest.param(spec("pooled", (6,)), 6, id="features"),
        pytest.param(spec("flatten", (6,)), 6, id="features, flatten"),
    ],
)
def test_a_head_gives_logits_for_every_shape(made, features):
    head = make_head(made)
    assert head(torch.zeros(2, *made.shape)).shape == (2, 3)
    assert head[-1].in_features == features


def test_tokens_are_pooled_over_their_positions():
    x = torch.randn(2, 8, 6, generator=torch.Generator().manual_seed(0))
    expected = x.reshape(2, 4, 2, 6).mean(dim=2).transpose(1, 2).flatten(1)
    torch.testing.assert_close(make_head(spec("pooled", (8, 6), channels_last=True))[:-1](x), expected)


@given(height=st.integers(1, 40), width=st.integers(1, 40))
def test_the_convolution_of_a_head_has_the_macs_that_are_foretold(height, width):
    counted = FlopCounterMode(display=False)
    head = make_head(spec("conv", (6, height, width), hidden=5))
    with counted, torch.no_grad():
        head[:-4](torch.zeros(1, 6, height, width))  # up to the convolution
    assert counted.get_total_flops() == 2 * 5 * conv_macs((6, height, width))


@given(size=st.integers(1, 50))
def test_a_halved_size_is_that_behind_the_convolution(size):
    assert halved(size) == nn.Conv1d(1, 1, 3, stride=2, padding=1)(torch.zeros(1, 1, size)).shape[-1]


@pytest.mark.parametrize(
    ("head", "shape", "fault"),
    [
        pytest.param("conv", (6,), "have no places", id="features for a convolution"),
        pytest.param("pooled", (6,), "", id="features"),
        pytest.param("conv", (6, 4), "", id="a signal"),
    ],
)
def test_what_no_head_can_read_is_said(head, shape, fault):
    assert fault in head_fault(head, shape)
    assert bool(fault) == bool(head_fault(head, shape))


@pytest.fixture
def exits() -> nn.Module:
    """mixed with a pooled exit behind the stem and a conv one behind the pool."""
    found = capture(user_models.mixed()).graph_module
    first = spec(shape=(16, 32, 32), classes=10)
    second = spec("conv", (16, 16, 16), node="pool", name="pool", hidden=8, classes=10)
    attach_exits(found, (first, second))
    return found


def test_the_output_becomes_the_tuple_of_all_exits_and_the_last_is_as_before(exits):
    plain = copy.deepcopy(exits)
    (outputs,) = plain.graph.output_node().args
    plain.graph.output_node().args = (outputs[-1],)
    plain.recompile()
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    given = exits(x)
    assert [tuple(each.shape) for each in given] == [(2, 10)] * 3
    assert torch.equal(given[-1], plain(x))


def test_a_head_reads_the_value_of_its_node(exits):
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    stem = functional.relu(exits.stem_norm(exits.stem(x)))
    assert torch.equal(exits(x)[0], exits.exit_heads.exit_0(stem))


def test_heads_are_modules_of_the_network_that_are_found_again_in_a_copy(exits):
    copied = copy.deepcopy(exits)
    assert has_exits(copied)
    names = [name for name, _ in copied.named_parameters() if name.startswith("exit_heads.")]
    assert len(names) == len(list(head_parameters(copied))) == 2 + 5  # linear; conv, norm's two, linear's two
    assert not has_exits(user_models.mixed())


def test_exits_are_not_attached_twice(exits):
    with pytest.raises(TypeError, match="has 'exit_heads' already"):
        attach_exits(exits, (spec(),))
