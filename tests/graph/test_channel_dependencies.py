import channel_models as made
import torch
import user_models
from torch import nn

from tinyml.graph.channel_dependencies import Coupling, Place, trace_dependencies


def couplings(model: nn.Module, shape: tuple[int, ...] = made.IMAGE) -> dict[str, Coupling]:
    traced = trace_dependencies(model.eval(), torch.zeros(2, *shape))
    return {each.layer: each for each in traced.couplings}


def test_a_coupling_holds_the_maker_its_norms_and_its_readers():
    found = couplings(user_models.unet_like(), (3, 32, 32))["down1.0"]
    assert {(place.name, place.side) for place in found.index} == {
        ("down1.0", "output"), ("down1.1", "output"), ("down2.0", "input"), ("join.0", "input")
    }  # fmt: skip


def test_concatenated_channels_stand_behind_those_before_them():
    found = couplings(user_models.unet_like(), (3, 32, 32))["up"]
    assert found.index[Place(name="join.0", side="input")].flatten().tolist() == list(range(16, 32))


def test_a_residual_sum_couples_all_layers_that_add_to_it_under_the_name_of_the_first():
    found = couplings(user_models.mobilenetv3_like(), (3, 32, 32))["0.0"]
    producers = {place.name for place in found.index if place.side == "output"}
    assert producers >= {"0.0", "1.0.project.0", "1.1.project.0"}


def test_channels_that_are_not_all_seen_everywhere_have_no_positions_but_places():
    found = couplings(made.hard_coded_slices())["a"]
    assert found.index == {}
    assert {(place.name, place.side) for place in found.reach} >= {("a", "output"), ("b", "input"), ("c", "input")}


def test_many_channel_shuffles_are_walked_through():
    units = [user_models.ShuffleUnit(64) for _ in range(8)]
    found = couplings(nn.Sequential(nn.Conv2d(3, 64, 1), *units), made.IMAGE)["0"]
    assert Place(name="8.branch.0", side="input") in found.reach


def test_a_bare_parameter_is_a_place_of_its_own():
    found = couplings(made.learned_factor())["a"]
    assert found.index[Place(name="factor", side="parameter", dimension=0)].shape == (16, 1)


def test_calls_of_every_module_are_counted_and_no_hook_is_left():
    model = made.called_twice().eval()
    traced = trace_dependencies(model, torch.zeros(2, *made.IMAGE))
    assert (traced.calls["a"], traced.calls["b"]) == (1, 2)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
