import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from tinyml.layers.attachment import advance, attachment_faults, is_computed
from tinyml.layers.mask import Mask, attach_mask, bake_masks, masks
from tinyml.layers.quantizers import attach_weight_quantizer
from tinyml.numerics.affine import signed_grid
from tinyml.numerics.sparsity import NOfM


def linear(weight: Tensor) -> nn.Linear:
    """A linear layer (8, 8) without bias with this weight."""
    layer = nn.Linear(8, 8, bias=False)
    with torch.no_grad():
        layer.weight.copy_(weight.reshape(8, 8))
    return layer


def masked(*, zeros: int, start: int = 0, ramp: float = 0.0, structure="unstructured") -> tuple[nn.Linear, Mask]:
    """The weights 1, 2, ... 64, so that the smallest come first."""
    layer = linear(torch.arange(1.0, 65.0))
    mask = attach_mask(layer, structure=structure, ramp=ramp)
    mask.aim(layer.weight.detach(), start=start, zeros=zeros)
    return layer, mask


def zeros_of(layer: nn.Module) -> list[int]:
    return (layer.weight.flatten() == 0).nonzero().flatten().tolist()


def test_the_smallest_weights_are_zero_and_the_others_are_as_they_were():
    layer, _ = masked(zeros=20)
    assert zeros_of(layer) == list(range(20))
    assert torch.equal(layer.weight.flatten()[20:], torch.arange(21.0, 65.0))


def test_no_gradient_reaches_a_masked_weight():
    layer, _ = masked(zeros=20)
    layer(torch.ones(1, 8)).sum().backward()
    gradient = layer.parametrizations.weight.original.grad.flatten()
    assert gradient.tolist() == [0.0] * 20 + [1.0] * 44


def test_a_masked_weight_that_is_not_finite_does_no_harm():
    layer, _ = masked(zeros=20)
    with torch.no_grad():
        layer.parametrizations.weight.original[0, 0] = torch.nan
    assert bool(torch.isfinite(layer(torch.ones(1, 8))).all())


def test_a_mask_without_a_ramp_never_changes():
    layer, mask = masked(zeros=20)
    with torch.no_grad():
        layer.parametrizations.weight.original.copy_(-layer.parametrizations.weight.original.flip(0, 1))
    advance(layer, 1.0)
    assert (zeros_of(layer), mask.masked) == (list(range(20)), 20)


@pytest.mark.parametrize(
    ("share", "zeros"),
    [(0.001, 0), (0.4, 55), (0.8, 63), (1.0, 63)],
    ids=["not one update yet", "half of the ramp", "its end", "the end of the training"],
)
def test_the_ramp_is_cubic_in_its_share_of_the_training(share: float, zeros: int):
    """At half of the ramp one eighth of the 63 zeros is missing: 7.875, rounded to 8."""
    layer, mask = masked(zeros=63, ramp=0.8)
    advance(layer, share)
    assert mask.masked == zeros


def test_a_weight_that_has_grown_comes_back_while_the_ramp_goes_on_and_not_after_it():
    layer, _ = masked(zeros=32, start=8, ramp=1.0)
    assert zeros_of(layer) == list(range(8))
    with torch.no_grad():
        layer.parametrizations.weight.original[0, 0] = 100.0
    advance(layer, 0.5)
    assert 0 not in zeros_of(layer)
    advance(layer, 1.0)
    assert zeros_of(layer) == list(range(1, 33))
    with torch.no_grad():
        layer.parametrizations.weight.original[0, 1] = 100.0
    advance(layer, 0.5)
    assert zeros_of(layer) == list(range(1, 33))


def test_a_second_training_does_not_start_the_ramp_again():
    layer, _ = masked(zeros=32, ramp=0.5)
    advance(layer, 1.0)
    advance(layer, 0.01)
    assert len(zeros_of(layer)) == 32


def test_the_course_is_the_same_when_the_mask_is_loaded_half_way():
    layer, _ = masked(zeros=40, ramp=1.0)
    advance(layer, 0.3)
    other, _ = masked(zeros=1, start=1, ramp=1.0)
    other.load_state_dict(layer.state_dict(), strict=True)
    for module in (layer, other):
        advance(module, 0.6)
    assert zeros_of(layer) == zeros_of(other)
    assert len(zeros_of(layer)) == 40 - round(40 * 0.4**3)


@pytest.mark.parametrize("axis_last", [False, True], ids=["contiguous", "channels last"])
def test_a_convolution_prunes_n_of_m_along_its_input_channels(axis_last: bool):
    layer = nn.Conv2d(8, 3, 3)
    mask = attach_mask(layer, structure=NOfM(keep=2, of=4), ramp=0.0)
    mask.aim(layer.weight.detach(), start=0, zeros=3 * 8 * 9 // 2)
    if axis_last:
        layer = layer.to(memory_format=torch.channels_last)
    groups = layer.weight.permute(0, 2, 3, 1).reshape(-1, 4)
    assert groups.count_nonzero(dim=1).tolist() == [2] * (3 * 2 * 9)
    assert attachment_faults(layer) == []


def test_a_transposed_convolution_has_its_input_channels_first():
    layer = nn.ConvTranspose2d(8, 3, 2)
    attach_mask(layer, structure=NOfM(keep=1, of=4), ramp=0.0).aim(layer.weight.detach(), start=0, zeros=72)
    assert layer.weight.reshape(2, 4, -1).count_nonzero(dim=1).unique().tolist() == [1]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda layer, mask: mask.mask.fill_(True), "weight: 0 weights are masked instead of 20"),
        (lambda layer, mask: mask.mask[7, 7].fill_(False), "weight: 21 weights are masked instead of 20"),
    ],
    ids=["an empty mask", "one weight too many"],
)
def test_a_broken_promise_is_told(spoil, said: str):
    layer, mask = masked(zeros=20)
    assert attachment_faults(layer) == []
    spoil(layer, mask)
    assert attachment_faults(layer) == [said]


def test_a_ramp_that_is_not_at_its_end_says_what_it_needs():
    layer, _ = masked(zeros=20, ramp=0.5)
    assert attachment_faults(layer) == ["weight: 0 weights are masked instead of 20; its ramp ends with a fine_tuning"]


def test_weights_that_are_not_zero_where_they_should_be_are_told():
    _, mask = masked(zeros=20)
    assert mask.fault(torch.ones(8, 8)) == "20 masked weights are not zero"
    _, mask = masked(zeros=32, structure=NOfM(keep=2, of=4))
    mask.mask.copy_(torch.arange(64).reshape(8, 8) >= 32)
    assert mask.fault(mask.mask.float()) == "8 groups have more than 2:4 weights that are not zero"


def test_a_mask_replaces_the_one_before_it_and_its_zeros_stay():
    layer, _ = masked(zeros=20)
    second = attach_mask(layer, structure="unstructured", ramp=0.5)
    second.aim(layer.weight.detach(), start=20, zeros=40)
    assert zeros_of(layer) == list(range(20))
    assert [mask for _, mask in masks(layer)] == [second]
    advance(layer, 1.0)
    assert zeros_of(layer) == list(range(40))


def test_what_an_earlier_mask_masks_stays_masked_though_it_has_the_size_of_others():
    """Of the first four weights three are pruned already, so 2:4 adds none there; it adds two to each other group."""
    layer, _ = masked(zeros=3)
    second = attach_mask(layer, structure=NOfM(keep=2, of=4), ramp=1.0)
    second.aim(layer.weight.detach(), start=3, zeros=33)
    with torch.no_grad():
        layer.parametrizations.weight.original[0, :3] = 100.0
    for share in (0.5, 1.0):
        advance(layer, share)
        assert zeros_of(layer)[:3] == [0, 1, 2]
    assert attachment_faults(layer) == []
    assert len(zeros_of(layer)) == 33


def test_a_weight_that_comes_back_is_told():
    layer, _ = masked(zeros=20)
    second = attach_mask(layer, structure="unstructured", ramp=0.0)
    second.aim(layer.weight.detach(), start=20, zeros=20)
    second.mask.copy_(second.mask.flip(0, 1))
    assert attachment_faults(layer) == ["weight: 20 weights that were pruned earlier are not masked"]


def test_baking_leaves_the_zeros_in_the_weight_and_copies_as_they_were():
    layer, _ = masked(zeros=20)
    original = copy.deepcopy(layer)
    bake_masks(layer)
    assert list(masks(layer)) == []
    assert (layer.parametrizations.weight.original == 0).sum() == 20
    assert next(iter(masks(original)))[1].masked == zeros_of(original)[-1] + 1 == 20


def test_baking_keeps_what_stands_behind_the_mask():
    layer, _ = masked(zeros=20)
    quantizer = attach_weight_quantizer(layer, signed_grid(8, symmetric=True))
    quantizer.fit(layer.weight)
    expected = layer.weight.clone()
    bake_masks(layer)
    assert torch.equal(layer.weight, expected)


def test_masks_are_listed_by_layer_and_a_shared_layer_once():
    shared = nn.Linear(8, 8)
    model = nn.Sequential(shared, nn.ReLU(), shared, nn.Sequential(nn.Linear(8, 2)))
    for layer in (shared, model[3][0]):
        attach_mask(layer, structure="unstructured", ramp=0.0)
    assert [name for name, _ in masks(model)] == ["0", "3.0"]


def test_something_else_than_a_mask_is_not_replaced():
    with pytest.raises(TypeError, match="computed by something else than a mask"):
        attach_mask(nn.utils.parametrizations.weight_norm(nn.Linear(2, 2)), structure="unstructured", ramp=0.0)


def test_half_precision_keeps_the_mask():
    layer, _ = masked(zeros=20)
    layer.half()
    assert layer.weight.dtype is torch.float16
    assert zeros_of(layer) == list(range(20))


class Doubled(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return 2 * weight


def test_a_weight_counts_as_computed_unless_passes_alone_attached_something():
    layer, _ = masked(zeros=20)
    assert not is_computed(layer)
    assert not is_computed(nn.Linear(2, 2))
    assert is_computed(nn.utils.parametrizations.spectral_norm(nn.Linear(2, 2)))
    parametrize.register_parametrization(layer, "weight", Doubled())
    assert is_computed(layer)
