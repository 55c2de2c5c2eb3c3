import copy

import pytest
import torch
from torch import Tensor, nn

from tinyml.layers.attachment import advance, attachment_faults, is_computed
from tinyml.layers.codebook import Codebook, attach_codebook, codebooks, freeze_codebooks
from tinyml.layers.mask import attach_mask, bake_masks
from tinyml.training.optimizer import is_decayed

WEIGHT = [[1.0, 2.0, 9.0], [11.0, 3.0, 10.0]]
INDICES = [[0, 0, 1], [1, 0, 1]]


def shared(mode="mean", *, reassign_every=0, keeps_zeros=False, groups=1) -> tuple[nn.Linear, Codebook]:
    """The weights above; 1, 2 and 3 share the centroid 2, the others 10."""
    layer = nn.Linear(3, 2, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(WEIGHT))
    codebook = attach_codebook(
        layer,
        groups=groups,
        centroids=2,
        keeps_zeros=keeps_zeros,
        training_mode=mode,
        reassign_every=reassign_every,
    )
    codebook.fit(torch.tensor([[2.0, 10.0]]).expand(groups, 2), torch.tensor(INDICES, dtype=torch.uint8))
    return layer.train(), codebook


def original(layer: nn.Module) -> Tensor:
    return layer.parametrizations.weight.original


def step(layer: nn.Module, gradient: list[list[float]]) -> None:
    """One step of gradient descent with rate 1 where the loss has this gradient by the effective weight."""
    layer.zero_grad()
    (layer.weight * torch.tensor(gradient)).sum().backward()
    with torch.no_grad():
        for parameter in layer.parameters():
            if parameter.grad is not None:
                parameter -= parameter.grad
    advance(layer, 0.5)


@pytest.mark.parametrize("mode", ["mean", "gradient", "soft"])
def test_every_weight_is_its_centroid_in_evaluation(mode):
    layer, _ = shared(mode)
    assert layer.eval().weight.tolist() == [[2, 2, 10], [10, 2, 10]]
    assert attachment_faults(layer) == []


def test_each_run_of_channels_has_a_codebook_of_its_own():
    layer, codebook = shared(groups=2)
    codebook.fit(torch.tensor([[1.5, 9.0], [3.0, 10.5]]), codebook.indices)
    assert layer.weight.tolist() == [[1.5, 1.5, 9], [10.5, 3, 10.5]]


def test_the_mean_follows_the_weights_and_each_weight_its_own_gradient():
    layer, codebook = shared("mean")
    step(layer, [[3.0, 0.0, 0.0], [0.0, 0.0, -6.0]])
    assert original(layer).tolist() == [[-2, 2, 9], [11, 3, 16]]
    assert codebook.centroids.tolist() == [[1, 12]]
    assert layer.weight.tolist() == [[1, 1, 12], [12, 1, 12]]


def test_the_gradient_of_a_centroid_is_the_sum_over_its_members_by_the_root_of_their_number():
    layer, codebook = shared("gradient")
    step(layer, [[1.0, 2.0, 4.0], [5.0, 6.0, 7.0]])
    expected = torch.tensor([[2 - 9 / 3**0.5, 10 - 16 / 3**0.5]])
    torch.testing.assert_close(codebook.centroids.detach(), expected)
    assert original(layer).tolist() == WEIGHT


@pytest.mark.parametrize(("every", "index"), [(0, 0), (1, 1), (2, 0)], ids=["never", "each step", "every second step"])
def test_a_weight_moves_to_its_nearest_centroid_when_it_is_due(every: int, index: int):
    layer, codebook = shared("mean", reassign_every=every)
    step(layer, [[-7.0, 0.0, 0.0], [0.0, 0.0, 0.0]])  # from 1 to 8, between 2 and 10
    assert int(codebook.indices[0, 0]) == index


def test_the_course_is_the_same_when_it_is_loaded_half_way():
    layer, _ = shared("mean", reassign_every=2)
    step(layer, [[-7.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    other, codebook = shared("mean", reassign_every=2)
    other.load_state_dict(layer.state_dict(), strict=True)
    for module in (layer, other):
        step(module, [[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    assert int(codebook.indices[0, 0]) == 1
    assert torch.equal(layer.weight, other.weight)


def test_a_centroid_without_members_stays():
    layer, codebook = shared("mean")
    codebook.indices.zero_()
    step(layer, [[0.0] * 3] * 2)
    assert codebook.centroids.tolist() == [[6, 10]]


@pytest.mark.parametrize("mode", ["mean", "gradient", "soft"])
def test_kept_zeros_stay_exactly_zero_and_nothing_joins_them(mode):
    """Place 0 is the zeros', 1 and 2 the centroids'; the weight at 1 goes to -0.1, nearer to 0 than to any other."""
    layer, codebook = shared(mode, keeps_zeros=True, reassign_every=int(mode == "mean"))
    codebook.fit(torch.tensor([[2.0, 10.0]]), torch.tensor([[1, 0, 2], [2, 1, 2]], dtype=torch.uint8))
    for _ in range(3):
        step(layer, [[1.1 / 3, 5.0, 0.0], [0.0, 0.0, 0.0]])
    zero = layer.weight == 0
    assert zero.tolist() == [[False, True, False], [False, False, False]]
    assert attachment_faults(layer.eval()) == []


@pytest.mark.parametrize(("share", "low", "high"), [(0.0, 0.01, 1), (1.0, 0, 1e-6)], ids=["warm", "cold"])
def test_soft_weights_are_mixtures_that_harden(share: float, low: float, high: float):
    layer, codebook = shared("soft")
    codebook.share.fill_(share)
    mixed = layer.weight
    assert low <= (mixed - layer.eval().weight).abs().max() <= high


def test_soft_weights_move_to_their_nearest_centroid_after_a_step():
    layer, codebook = shared("soft")
    with torch.no_grad():
        original(layer)[0, 0] = 8.0
    advance(layer, 0.5)
    assert codebook.indices.tolist() == [[1, 0, 1], [1, 0, 1]]
    assert codebook.centroids.tolist() == [[2.5, 9.5]]


def test_no_optimizer_decays_centroids():
    layer, _ = shared()
    decayed = {name: is_decayed(name, parameter) for name, parameter in layer.named_parameters()}
    assert decayed == {"parametrizations.weight.original": True, "parametrizations.weight.0.centroids": False}


def test_memory_layout_does_not_change_values():
    layer = nn.Conv2d(4, 2, 3)
    codebook = attach_codebook(layer, groups=2, centroids=8, keeps_zeros=False, training_mode="mean", reassign_every=1)
    codebook.fit(torch.linspace(-1, 1, 16).reshape(2, 8), torch.arange(72).reshape(2, 4, 3, 3) % 8)
    before = layer.weight.clone()
    last = copy.deepcopy(layer).to(memory_format=torch.channels_last)
    assert torch.equal(last.weight, before)
    for module in (layer, last):
        advance(module, 0.5)
    assert torch.equal(last.weight, layer.weight)
    assert not torch.equal(last.weight, before)


def test_weights_of_one_centroid_that_differ_are_told():
    layer, codebook = shared()
    weight = layer.weight.detach().clone()
    assert codebook.fault(weight) == ""
    weight[0, 1] *= 1.5
    assert codebook.fault(weight) == "weights of one centroid differ in 1 channels"


def test_a_scale_for_each_channel_behind_it_breaks_no_promise():
    layer, codebook = shared()
    assert codebook.fault(layer.weight.detach() * torch.tensor([[3.0], [0.1]])) == ""


def test_zeros_that_are_none_are_told():
    layer, codebook = shared(keeps_zeros=True)
    assert codebook.fault(layer.weight.detach()) == ""
    assert codebook.fault(torch.ones(2, 3)) == "3 weights whose zeros the codebook keeps are not zero"


def test_behind_a_mask_it_is_no_computed_weight_and_baking_the_mask_leaves_it():
    layer = nn.Linear(3, 2, bias=False)
    attach_mask(layer, structure="unstructured", ramp=0.0).aim(layer.weight.detach(), start=0, zeros=3)
    attach_codebook(layer, groups=1, centroids=1, keeps_zeros=True, training_mode="mean", reassign_every=0)
    assert not is_computed(layer)
    bake_masks(layer)
    assert [name for name, _ in codebooks(layer)] == [""]


def test_what_is_frozen_is_what_ships():
    layer, codebook = shared()
    freeze_codebooks(layer)
    assert torch.equal(codebook.stored, layer.weight)
    assert "parametrizations.weight.0.stored" not in layer.state_dict()


def test_codebooks_are_listed_by_layer_and_a_shared_layer_once():
    layer, codebook = shared()
    assert list(codebooks(nn.Sequential(layer, nn.ReLU(), layer))) == [("0", codebook)]


def test_half_precision_keeps_the_number_of_values():
    layer, _ = shared()
    layer.half().eval()
    assert layer.weight.dtype is torch.float16
    assert attachment_faults(layer) == []
