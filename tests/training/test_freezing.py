import copy
from dataclasses import replace

import pytest
import torch
from exit_networks import with_exits
from torch import Tensor, nn

from tinyml.data import Task
from tinyml.errors import UsageError
from tinyml.training import TrainingSettings, frozen, heads_alone, train
from tinyml.training.freezing import train_mode
from tinyml.training.weights import copy_out


class Twice(nn.Module):
    """A block with BatchNorm and dropout that is called twice, between two convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.block = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.ReLU())
        self.head = nn.Linear(64, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.block(self.block(self.stem(x))).flatten(1))


def held(module: nn.Module) -> set[str]:
    return {name for name, parameter in module.named_parameters() if not parameter.requires_grad}


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        pytest.param("stem", {"stem.weight", "stem.bias"}, id="a layer"),
        pytest.param("block.1", {"block.1.weight", "block.1.bias"}, id="a layer inside another module"),
        pytest.param("bl*", {f"block.{i}.{kind}" for i in (0, 1) for kind in ("weight", "bias")}, id="all inside it"),
    ],
)
def test_what_a_pattern_matches_requires_no_gradient(pattern: str, expected: set[str]) -> None:
    module = Twice()
    with frozen(module, [pattern]):
        assert held(module) == expected
    assert held(module) == set()


def test_what_was_frozen_before_stays_so_after() -> None:
    module = Twice()
    module.stem.bias.requires_grad_(False)
    with frozen(module, ["stem"]):
        pass
    assert held(module) == {"stem.bias"}


def test_a_parametrization_is_frozen_with_its_layer() -> None:
    module = nn.utils.parametrizations.weight_norm(nn.Linear(2, 2))
    network = nn.Sequential(module, nn.Linear(2, 2))
    with frozen(network, ["0"]):
        assert not any(parameter.requires_grad for parameter in module.parameters())


@pytest.mark.parametrize(
    ("patterns", "message"),
    [
        pytest.param(["stemm"], "'stemm' matches no module with parameters. Did you mean 'stem'", id="misspelt"),
        pytest.param(["block.2"], "'block.2' matches no module with parameters", id="dropout"),
        pytest.param(["stem", "block", "head"], "stem, block, head leaves no parameter to train", id="everything"),
    ],
)
def test_patterns_that_freeze_nothing_or_all_are_refused(patterns: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message), frozen(Twice(), patterns):
        pass


def test_only_frozen_parts_are_in_evaluation_mode() -> None:
    module = Twice()
    with frozen(module, ["block"]):
        train_mode(module)
    assert {name for name, part in module.named_modules() if not part.training} == {
        "block", "block.0", "block.1", "block.2", "block.3",
    }  # fmt: skip


@pytest.mark.parametrize("ema_decay", [0.0, 0.9], ids=["plain", "averaged"])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_what_is_frozen_keeps_its_bytes_in_training(
    task: Task, settings: TrainingSettings, ema_decay: float, optimizer: str
) -> None:
    module = Twice()
    with torch.no_grad():
        module.block[0].weight[0] = -0.0  # an average of zeros loses the sign
    before = copy.deepcopy(copy_out(module))
    with frozen(module, ["block"]):
        train(module, task, replace(settings, ema_decay=ema_decay, weight_decay=0.1, optimizer=optimizer))
    after = copy_out(module)
    same = {name for name in before if before[name].numpy().tobytes() == after[name].numpy().tobytes()}
    assert same == {name for name in before if name.startswith("block.")}


def exits() -> nn.Module:
    """A network with a convolutional exit, and with a norm and a dropout in front of it that have no parameters."""
    backbone = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4, affine=False), nn.ReLU(), nn.Dropout(0.5),
        nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(64, 2),
    )  # fmt: skip
    return with_exits(backbone, (1, 4, 4), head="conv", classes=2)


def test_heads_alone_require_a_gradient() -> None:
    module = exits()
    with heads_alone(module):
        assert held(module) == {f"{i}.{kind}" for i in (0, 4, 7) for kind in ("weight", "bias")}
    assert held(module) == set()


def test_heads_alone_are_in_training_mode() -> None:
    module = exits()
    with heads_alone(module):
        train_mode(module)
    assert {name.partition(".")[0] for name, part in module.named_modules() if part.training} == {"exit_heads"}


def test_in_front_of_the_heads_all_keeps_its_bytes(task: Task, settings: TrainingSettings) -> None:
    module = exits()
    before = copy_out(module)
    with heads_alone(module):
        train(module, task, settings)
    after = copy_out(module)
    same = {name for name in before if before[name].numpy().tobytes() == after[name].numpy().tobytes()}
    assert same == {name for name in before if not name.startswith("exit_heads.")}


def test_without_exits_there_are_no_heads_to_train() -> None:
    with pytest.raises(UsageError, match="no exits whose heads"), heads_alone(Twice()):
        pass
