from pathlib import Path

import pytest
import torch
from torch import nn

from tinyml.checkpoint import StateDict, load_into
from tinyml.errors import CheckpointError
from tinyml.models import create_model

SOURCE = Path("given.pt")


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))


def load(module: nn.Module, tensors: dict[str, torch.Tensor]) -> tuple[str, ...]:
    return load_into(module, StateDict(tensors=tensors), source=SOURCE)


def test_the_values_are_taken():
    source, target = network(), network()
    assert load(target, source.state_dict()) == ()
    assert all(torch.equal(target.state_dict()[name], tensor) for name, tensor in source.state_dict().items())


def test_all_faults_are_listed_together_with_the_nearest_names():
    state = network().state_dict()
    state["0.wieght"], state["1.bias"] = state.pop("0.weight"), torch.ones(5)
    state["0.bias"] = state["0.bias"].to(torch.int32)
    with pytest.raises(CheckpointError) as caught:
        load(network(), state)
    for said in (
        "1 missing: '0.weight' (is it '0.wieght'?)",
        "1 that the model does not have: '0.wieght'",
        "'1.bias' is 5, the model has 2",
        "'0.bias' is int32, the model has float32",
    ):
        assert said in str(caught.value)


def test_shapes_are_told_in_the_order_of_the_network():
    state = {name: torch.ones(7) for name in ("1.bias", "0.bias", "1.weight")} | {"0.weight": torch.ones(2, 3)}
    state |= {name: tensor for name, tensor in network().state_dict().items() if name.startswith("1.r")}
    with pytest.raises(CheckpointError, match=r"3 of another shape: '0\.bias' .* '1\.weight' .* '1\.bias' "):
        load(network(), state)


def test_long_lists_are_cut_with_a_count():
    with pytest.raises(CheckpointError, match=r"and 12 more"):
        load(network(), {f"x{index}": torch.ones(1) for index in range(20)})


def test_the_model_of_the_zoo_that_would_fit_is_named():
    with pytest.raises(CheckpointError, match="fits --model resnet20-cifar"):
        load(create_model("resnet32-cifar"), create_model("resnet20-cifar").state_dict())


def test_a_refused_checkpoint_leaves_the_module_as_it_was():
    module = network()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    with pytest.raises(CheckpointError):
        load(module, {**network().state_dict(), "extra": torch.ones(1)})
    assert all(torch.equal(module.state_dict()[name], tensor) for name, tensor in before.items())


def test_values_that_are_not_finite_are_counted_by_name():
    state = network().state_dict()
    state["0.weight"] = torch.tensor([[1.0, torch.nan, torch.nan], [torch.inf, 0.0, 0.0]])
    with pytest.raises(CheckpointError, match=r"'0\.weight' has 2 NaN and 1 infinite of 6"):
        load(network(), state)


def test_the_counters_of_batch_norm_may_be_missing():
    state = network().state_dict()
    del state["1.num_batches_tracked"]
    assert load(network(), state) == ()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_other_floats_are_converted_and_said(dtype):
    module = nn.Linear(2, 1)
    notes = load(module, {"weight": torch.tensor([[0.5, 2.0]], dtype=dtype), "bias": torch.ones(1)})
    assert notes == (f"converted 1 tensors from {str(dtype)[6:]} to float32",)
    assert module.weight.tolist() == [[0.5, 2.0]]


@pytest.mark.parametrize("prefix", ["model.", "net.", "model.backbone."], ids=["lightning", "net", "two parts"])
def test_a_prefix_is_removed_where_the_rest_fits_exactly(prefix):
    state = {prefix + name: tensor for name, tensor in network().state_dict().items()}
    notes = load(network(), {**state, "loss.weight": torch.ones(1)})
    assert notes == (f"removed the prefix '{prefix}' from 7 names, left out 'loss.weight'",)


def test_a_prefix_that_the_model_has_is_put_back():
    notes = load(nn.ModuleDict({"module": network()}), network().state_dict())
    assert notes == ("put the prefix 'module.' in front of the names",)


def test_two_networks_that_fit_are_not_guessed_between():
    state = {p + name: tensor for p in ("a.", "b.") for name, tensor in network().state_dict().items()}
    with pytest.raises(CheckpointError, match="missing"):
        load(network(), state)
