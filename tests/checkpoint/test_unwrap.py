import attack_files as build
import pytest
import torch

from tinyml.checkpoint import read_state
from tinyml.errors import CheckpointError

W = {"weight": torch.ones(2), "bias": torch.zeros(2)}
AVERAGED = {"weight": torch.full((2,), 9.0), "bias": torch.zeros(2)}


def prefixed(prefix: str) -> dict[str, torch.Tensor]:
    return {prefix + name: tensor for name, tensor in W.items()}


@pytest.mark.parametrize(
    ("checkpoint", "note"),
    [
        pytest.param({"state_dict": W}, "took 'state_dict'", id="state_dict"),
        pytest.param({"model": W, "epoch": 1}, "took 'model', left out 'epoch'", id="model"),
        pytest.param({"net": W, "acc": 1.0}, "took 'net'", id="net"),
        pytest.param({"ema": W}, "took 'ema'", id="only an average"),
        pytest.param({"model_ema": AVERAGED, "model": W}, "took 'model', left out 'model_ema'", id="plain and average"),
        pytest.param({"state_dict_ema": AVERAGED, "state_dict": W}, "took 'state_dict'", id="timm"),
        pytest.param({"model": {"state_dict": W}}, "took 'state_dict'", id="nested"),
        pytest.param(
            {"my_net": W, "optimizer": {"state": {0: {"step": torch.ones(1)}}}}, "took 'my_net'", id="own name"
        ),
        pytest.param(prefixed("module."), "removed the prefix 'module.'", id="DataParallel"),
        pytest.param(prefixed("_orig_mod."), "removed '_orig_mod.'", id="compiled"),
        pytest.param(prefixed("module._orig_mod."), "removed the prefix 'module.'", id="both"),
        pytest.param(prefixed("module.module."), "removed the prefix 'module.'", id="twice"),
        pytest.param({"n_averaged": torch.tensor(3), **prefixed("module.")}, "'module.'", id="AveragedModel"),
        pytest.param({**W, "epoch": 3}, "left out what is no tensor: 'epoch (int)'", id="mixed"),
    ],
)
def test_wrappers_are_undone_and_said(tmp_path, checkpoint, note):
    state = read_state(build.saved(tmp_path / "c.pt", checkpoint))
    assert {name: tensor.tolist() for name, tensor in state.tensors.items()} == {"weight": [1, 1], "bias": [0, 0]}
    assert any(note in said for said in state.notes)


@pytest.mark.parametrize(
    ("checkpoint", "said"),
    [
        pytest.param([torch.ones(1)], "holds a list", id="list"),
        pytest.param(torch.ones(1), "holds a single tensor", id="tensor"),
        pytest.param({}, "holds nothing", id="nothing"),
        pytest.param({"epoch": 3, "optimizer": {"state": {}}}, "holds 'epoch', 'optimizer'", id="no weights"),
        pytest.param({"generator": W, "critic": W}, r"several sets.*checkpoint\['generator'\]", id="two networks"),
    ],
)
def test_what_holds_no_single_set_of_weights_is_refused(tmp_path, checkpoint, said):
    with pytest.raises(CheckpointError, match=said):
        read_state(build.saved(tmp_path / "c.pt", checkpoint))
