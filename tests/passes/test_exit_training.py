from dataclasses import replace

import numpy as np
import pytest
import torch
from memory_store import Memory
from random_task import random_context, random_task, uncompressed
from torch import Tensor, nn

from tinyml.architecture import AttachExits
from tinyml.checkpoint import load_into, read_state
from tinyml.data import load_task
from tinyml.errors import RecipeError, TinymlError
from tinyml.graph.capture import capture
from tinyml.graph.node_macs import macs_by_output, node_macs
from tinyml.models import create_model
from tinyml.numerics.exit_thresholds import ExitGoal
from tinyml.passes.base import Compressed, Context
from tinyml.passes.early_exit import EarlyExit
from tinyml.passes.exit_choice import choose_exits
from tinyml.passes.exit_training import ExitTraining, changed_outside_heads, held
from tinyml.passes.fine_tuning import Distillation, FineTuning
from tinyml.training.evaluation import predict

DIGITS = (1, 8, 8)
ONE = {"epochs": 1, "batch_size": 16, "channels_last": False}


def plain(seed: int = 0) -> Compressed:
    torch.manual_seed(seed)
    return uncompressed(create_model("lenet-digits").eval(), DIGITS, factory="lenet-digits")


def noise(**changed: object) -> Context:
    """64 images of noise, the first 32 of them for validation, too."""
    task = random_task(DIGITS)
    task = replace(task, validation=task.train.take(np.arange(32), "noise"))
    return replace(random_context(DIGITS, task=task), **{"teacher": plain(1).module, **changed})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def exits() -> Compressed:
    """lenet-digits with two exits; to be read only."""
    return EarlyExit(exits=2, head="conv").apply(plain(), noise())


def tuned(settings: FineTuning, before: Compressed, context: Context) -> Compressed:
    settings.requires(before, context)
    after = settings.apply(before, context)
    settings.ensures(before, after)
    return after


def differing(before: Compressed, after: Compressed) -> set[str]:
    ours, theirs = before.module.state_dict(), after.module.state_dict()
    return {name for name in ours if not torch.equal(ours[name], theirs[name])}


def parameters(model: Compressed) -> set[str]:
    return {name for name, _ in model.module.named_parameters()}


def own_answer(model: Compressed, x: Tensor) -> Tensor:
    with torch.no_grad():
        return model.module(x)[-1]


def test_heads_are_trained_alone_and_the_networks_answer_stays_bit_for_bit(exits):
    after = tuned(FineTuning(exits=ExitTraining(train="heads"), **ONE), exits, noise())
    assert differing(exits, after) >= {name for name in parameters(exits) if name.startswith("exit_heads.")}
    assert changed_outside_heads(exits.module, after.module) == []
    x = torch.from_numpy(random_task(DIGITS).train.x[:4])
    assert torch.equal(own_answer(after, x), own_answer(exits, x))


def test_heads_are_trained_with_the_network(exits):
    after = tuned(FineTuning(**ONE), exits, noise())
    assert parameters(exits) <= differing(exits, after)


def test_an_exit_without_weight_is_not_trained(exits):
    settings = ExitTraining(weights=(0.0, 1.0, 1.0))
    after = tuned(FineTuning(exits=settings, weight_decay=0.0, **ONE), exits, noise())
    unchanged = parameters(exits) - differing(exits, after)
    assert unchanged == {name for name in parameters(exits) if name.startswith("exit_heads.exit_0.")}


def test_what_exits_learn_from_the_last_one_is_a_setting(exits):
    settings = [FineTuning(exits=ExitTraining(train="heads", distill=share), **ONE) for share in (0.0, 0.9)]
    first, second = (tuned(each, exits, noise()) for each in settings)
    assert all(name.startswith("exit_heads.") for name in differing(first, second))
    assert differing(first, second)


def test_exits_learn_from_a_teacher(exits):
    settings = FineTuning(exits=ExitTraining(train="heads"), distill=Distillation(), **ONE)
    first, second = (tuned(settings, exits, noise(teacher=plain(seed).module)) for seed in (1, 2))
    assert differing(first, second)


@pytest.mark.parametrize("wrong", [{"distill": 0.9}, {"temperature": 2.0}], ids=str)
def test_what_exits_learn_from_the_last_one_is_refused_beside_a_teacher(wrong):
    with pytest.raises(RecipeError, match="exits do nothing; leave those out, or distill"):
        FineTuning(distill=True, exits=ExitTraining(**wrong))


def test_the_history_has_the_score_of_every_exit(exits):
    lines: list[dict[str, object]] = []
    after = tuned(FineTuning(**ONE), exits, noise(record=lines.append))
    found = lines[-1]
    assert found["event"] == "exits on validation"
    x, y = random_task(DIGITS).train.x[:32], random_task(DIGITS).train.y[:32]
    with torch.no_grad():
        expected = [float((each.argmax(dim=1).numpy() == y).mean()) for each in after.module(torch.from_numpy(x))]
    assert found["scores"] == pytest.approx(expected)
    epoch = next(line for line in lines if line["event"] == "epoch")
    assert epoch["validation_score"] == pytest.approx(np.mean(expected))


def test_a_state_of_other_exit_settings_is_not_continued(exits):
    store = Memory()
    FineTuning(**ONE).apply(exits, noise(store=store))
    with pytest.raises(TinymlError, match="exits"):
        FineTuning(exits=ExitTraining(distill=0.1), **ONE).apply(exits, noise(store=store))


def test_a_network_without_exits_trains_to_the_same_bytes_as_with_the_default_said():
    first, second = (tuned(FineTuning(**ONE, **more), plain(), noise()) for more in ({}, {"exits": ExitTraining()}))
    assert differing(first, second) == set()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        pytest.param(ExitTraining(train="heads"), "the network has none", id="heads"),
        pytest.param(ExitTraining(weights=(1.0,)), "the network has none", id="weights"),
    ],
)
def test_settings_for_exits_are_refused_without_exits(settings, said):
    with pytest.raises(RecipeError, match=said):
        FineTuning(exits=settings).requires(plain(), noise())


def test_a_weight_for_each_exit_and_the_networks_own_answer_is_needed(exits):
    with pytest.raises(RecipeError, match="2 weights are given and 3 are needed"):
        FineTuning(exits=ExitTraining(weights=(1.0, 1.0))).requires(exits, noise())


@pytest.mark.parametrize(
    "wrong", [{"weights": (-1.0,)}, {"distill": 1.5}, {"temperature": 0}, {"train": "some"}], ids=str
)
def test_values_that_are_not_allowed_are_named(wrong):
    with pytest.raises(RecipeError, match=next(iter(wrong))):
        ExitTraining(**wrong)


@pytest.mark.parametrize(
    ("train", "weights"), [("all", (0.0, 0.0)), ("heads", (0.0, 1.0))], ids=["no exit", "the last alone"]
)
def test_weights_with_which_nothing_is_trained_are_refused(train, weights):
    with pytest.raises(RecipeError, match=f"^weights: all .*are 0, so that train: {train} trains nothing"):
        ExitTraining(train=train, weights=weights)


def test_a_backbone_that_changed_while_heads_were_trained_breaks_the_promise(exits):
    settings = FineTuning(exits=ExitTraining(train="heads"), **ONE)
    after = exits.copy()
    norm = next(part for part in after.module.modules() if isinstance(part, nn.BatchNorm2d))
    norm.running_mean += 1
    with pytest.raises(TinymlError, match=r"bn1\.running_mean' was not to be trained"):
        settings.ensures(exits, after)


def test_freeze_and_heads_hold_together(exits):
    module = exits.copy().module
    with held(module, ["exit_heads.exit_0"], ExitTraining(train="heads")):
        free = {name for name, parameter in module.named_parameters() if parameter.requires_grad}
    assert {name.split(".")[1] for name in free} == {"exit_1"}
    assert all(parameter.requires_grad for parameter in module.parameters())


def test_heads_learn_the_digits_and_thresholds_then_save_macs(digits_checkpoint):
    network = plain()
    load_into(network.module, read_state(digits_checkpoint), source=digits_checkpoint)
    task = load_task("digits")
    context = replace(noise(), task=task)
    with_exits = EarlyExit(exits=("conv1",), head="conv").apply(network, context)
    after = tuned(FineTuning(epochs=4, learning_rate=0.05, exits=ExitTraining(train="heads")), with_exits, context)
    logits, labels = predict(after.module, task, task.validation).swapaxes(0, 1), task.validation.y
    macs = macs_by_output(after.module, node_macs(after.module, DIGITS))
    whole = sum(node_macs(capture(network.copy().module).module, DIGITS).values())
    found = choose_exits(edit_goal(with_exits), logits, labels, costs=macs, whole=whole)
    assert found.accuracies[0] > 0.8
    assert found.point.accuracy >= found.accuracies[-1] - 0.005
    assert found.point.cost < 0.7 * whole


def edit_goal(model: Compressed) -> ExitGoal:
    edit = model.architecture.edits[-1]
    assert isinstance(edit, AttachExits)
    return edit.goal
