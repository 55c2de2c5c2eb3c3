import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import user_models
from random_task import random_context, random_task, trained, uncompressed
from torch import Tensor, nn

from tinyml.architecture import Architecture, AttachExits, build
from tinyml.data import Task
from tinyml.errors import ModelError, RecipeError, TinymlError
from tinyml.export import to_onnx
from tinyml.graph.node_macs import macs_by_output, node_macs
from tinyml.models import create_model
from tinyml.passes.base import Compressed, Context
from tinyml.passes.channel_pruning import ChannelPruning
from tinyml.passes.early_exit import EarlyExit
from tinyml.passes.linear_quantization import Calibration, LinearQuantization
from tinyml.passes.weight_pruning import WeightPruning
from tinyml.recipe_order import unfinished_faults
from tinyml.runtime.session import open_session

IMAGE = (3, 32, 32)
MODELS = ["mixed", "densenet_like", "mobilenetv3_like", "shufflenet_like", "small_vit", "inception_like", "mlp"]


def made(factory: str) -> Compressed:
    torch.manual_seed(0)
    return uncompressed(trained(getattr(user_models, factory)()), IMAGE, factory=f"user_models:{factory}")


def applied(step: EarlyExit, before: Compressed, context: Context | None = None) -> Compressed:
    context = context or random_context(before.architecture.input_shape)
    step.requires(before, context)
    after = step.apply(before, context)
    step.ensures(before, after)
    return after


def refused(step: EarlyExit, before: Compressed) -> str:
    with pytest.raises((RecipeError, ModelError)) as error:
        step.requires(before, random_context(before.architecture.input_shape))
    return str(error.value)


def edit_of(model: Compressed) -> AttachExits:
    edit = model.architecture.edits[-1]
    assert isinstance(edit, AttachExits)
    return edit


def outputs(module: nn.Module, x: Tensor) -> tuple[Tensor, ...]:
    with torch.no_grad():
        found = module(x)
    assert isinstance(found, tuple)
    return found


def images(shape: tuple[int, ...] = IMAGE) -> Tensor:
    return torch.from_numpy(random_task(shape).train.x[:4])


@pytest.mark.parametrize("factory", MODELS)
def test_exits_stand_before_the_networks_own_answer_which_stays_bit_for_bit(factory):
    before = made(factory)
    own = before.module(images()).detach()
    after = applied(EarlyExit(exits=1), before)
    early, last = outputs(after.module, images())
    assert torch.equal(last, own)
    assert early.shape == own.shape
    assert not isinstance(before.module(images()), tuple)


@pytest.mark.parametrize("head", ["pooled", "flatten", "conv"])
@pytest.mark.parametrize("factory", ["mixed", "small_vit"])
def test_the_architecture_builds_the_same_network_again(factory, head):
    after = applied(EarlyExit(exits=1, head=head), made(factory))
    again = build(Architecture.model_validate_json(after.architecture.model_dump_json()))
    again.load_state_dict(after.module.state_dict())
    found = zip(outputs(again, images()), outputs(after.module, images()), strict=True)
    assert all(torch.equal(one, other) for one, other in found)


def test_the_seed_draws_the_heads():
    weights = []
    for seed in (0, 0, 1):
        context = replace(random_context(IMAGE), seed=seed)
        weights.append(applied(EarlyExit(exits=1), made("mixed"), context).module.exit_heads.exit_0.linear.weight)
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_drawing_heads_leaves_the_random_numbers_of_others_alone():
    before = made("mixed")
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    EarlyExit(exits=1).apply(before, random_context(IMAGE))
    assert torch.equal(torch.rand(3), expected)


def test_the_labs_resnet18_costs_by_exit_what_the_lab_counted():
    model = uncompressed(create_model("resnet18-cifar", {"classes": 6}), IMAGE, factory="resnet18-cifar")
    model = replace(model, architecture=model.architecture.model_copy(update={"model_args": {"classes": 6}}))
    step = EarlyExit(exits=("layer[123]",), head="flatten")
    after = step.apply(model, replace(random_context(IMAGE), task=None))
    macs = macs_by_output(after.module, node_macs(after.module, IMAGE))
    assert macs == (153_157_632, 287_571_968, 421_888_000, 556_108_800)


@pytest.mark.parametrize("factory", ["mixed", "densenet_like"])
def test_the_convolution_of_a_head_takes_at_most_1_percent_of_the_macs_or_has_8_channels(factory):
    before = made(factory)
    after = applied(EarlyExit(exits=1, head="conv"), before)
    conv = after.module.exit_heads.exit_0.conv
    macs = node_macs(after.module, IMAGE)
    by_name = {node.name: count for node, count in macs.items()}
    whole = sum(count for name, count in by_name.items() if not name.startswith("exit_heads"))
    assert by_name["exit_heads_exit_0_conv"] <= 0.01 * whole or conv.out_channels == 8
    assert conv.out_channels % 8 == 0


def test_exits_are_named_by_modules_patterns_or_a_number():
    model = uncompressed(create_model("resnet20-cifar"), IMAGE, factory="resnet20-cifar")
    steps = [EarlyExit(exits=("layer2", "layer1")), EarlyExit(exits=("layer[12]",)), EarlyExit(exits=2)]
    for step in steps:
        assert [spec.name for spec in edit_of(applied(step, model)).exits] == ["layer1", "layer2"]


def test_the_history_says_where_exits_stand():
    lines: list[dict[str, object]] = []
    applied(EarlyExit(exits=1), made("mobilenetv3_like"), replace(random_context(IMAGE), record=lines.append))
    assert lines == [{"event": "exits", "head": "pooled", "exits": [{"place": "1.0", "macs_share": 0.4695}]}]


def test_the_architecture_says_by_what_rule_and_to_what_end():
    found = edit_of(applied(EarlyExit(exits=1, rule="margin", keep_macs=0.7), made("mixed"))).goal
    assert (found.rule, found.goal, found.budget, found.temperature_scaling) == ("margin", "keep_macs", 0.7, True)


def test_without_a_goal_half_a_point_may_be_lost():
    assert EarlyExit().max_drop_points == 0.5
    assert EarlyExit(keep_macs=0.5).max_drop_points is None


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        pytest.param({"keep_macs": 0.5, "max_drop_points": 1}, "at most one of .* not max_drop_points and", id="two goals"),
        pytest.param({"keep_macs": 1.5}, "keep_macs: 1.5: input should be less than or equal to 1", id="share"),
        pytest.param({"exits": 0}, "exits: 0", id="no exits"),
        pytest.param({"exits": ()}, "exits is an empty list", id="empty"),
        pytest.param({"rule": "hope"}, "rule: 'hope'", id="rule"),
        pytest.param({"head": "deep"}, "head: 'deep'", id="head"),
    ],
)  # fmt: skip
def test_settings_that_are_not_allowed_are_refused(settings, said):
    with pytest.raises(RecipeError, match=said):
        EarlyExit(**settings)


@pytest.mark.parametrize(
    ("step", "factory", "said"),
    [
        pytest.param(EarlyExit(exits=("stems",)), "mixed", "'stems' is no place for an exit. Did you mean 'stem', which is 'stem_norm'? There are", id="misspelt"),
        pytest.param(EarlyExit(exits=3), "mixed", "3 exits are asked for; there are 2 places: stem_norm, pool", id="too many"),
        pytest.param(EarlyExit(), "data_dependent", "body runs in one piece", id="in one piece"),
        pytest.param(EarlyExit(exits=1, head="conv"), "mlp", "features (64,) have no places", id="head that does not fit"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_refused_before_any_work(step, factory, said):
    assert said in refused(step, made(factory))


def test_more_exits_than_thresholds_can_be_chosen_for_are_refused():
    layers = [layer for _ in range(16) for layer in (nn.Linear(8, 8), nn.ReLU())]
    deep = uncompressed(nn.Sequential(*layers, nn.Linear(8, 10)), (8,))
    assert "15 exits are asked for; allowed are 12 at most" in refused(EarlyExit(exits=("*",)), deep)
    assert len(edit_of(applied(EarlyExit(exits=12), deep)).exits) == 12


class Untraceable(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x if bool(x.sum() > 0) else -x)


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 10)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"logits": self.linear(x)}


def volumes() -> nn.Module:
    return nn.Sequential(nn.Conv3d(1, 2, 3), nn.ReLU(), nn.Conv3d(2, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(16, 10))


@pytest.mark.parametrize(
    ("model", "said"),
    [
        pytest.param(Untraceable(), "its forward cannot be traced", id="no graph"),
        pytest.param(nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 10)), "too few layers", id="two layers"),
        pytest.param(volumes(), "has more than 3 dimensions beside the batch", id="volumes"),
        pytest.param(Pair(), "does not return one tensor", id="a dictionary"),
        pytest.param(nn.Conv1d(8, 2, 1), "not logits (N, classes)", id="no classifier"),
    ],
)
def test_a_network_that_has_no_place_for_an_exit_is_refused_with_the_reason(model, said):
    shapes = {nn.Conv1d: (8, 4), nn.Conv3d: (1, 4, 4, 4)}
    first = next((part for part in model.modules() if type(part) in shapes), None)
    assert said in refused(EarlyExit(exits=1), uncompressed(model, shapes.get(type(first), (8,))))


def test_exits_are_not_attached_to_exits_nor_to_codes():
    once = applied(EarlyExit(exits=1), made("mixed"))
    assert "has exits already" in refused(EarlyExit(exits=1), once)
    assert "before quantization" in refused(EarlyExit(exits=1), _int8(made("mixed")))


def test_a_reconstruction_is_refused():
    context = random_context(IMAGE)
    task = Task(name="odd", kind="reconstruction", input_shape=IMAGE, classes=("normal", "odd"), test=_normal_and_odd())
    with pytest.raises(RecipeError, match="early_exit is for classification; task 'odd' is reconstruction"):
        EarlyExit().requires(made("mixed"), replace(context, task=task))


def _normal_and_odd():
    split = random_task(IMAGE).train
    return replace(split, y=np.arange(len(split)) % 2)


def test_a_changed_backbone_breaks_the_promise():
    before = made("mixed")
    after = EarlyExit(exits=1).apply(before, random_context(IMAGE))
    with torch.no_grad():
        after.module.head.bias += 1
    with pytest.raises(TinymlError, match=r"'head\.bias' has changed"):
        EarlyExit(exits=1).ensures(before, after)


def test_a_changed_answer_breaks_the_promise():
    before = made("mixed")
    after = EarlyExit(exits=1).apply(before, random_context(IMAGE))
    (given,) = after.module.graph.output_node().args
    after.module.graph.output_node().args = (given[::-1],)
    after.module.recompile()
    with pytest.raises(TinymlError, match="own answer has changed"):
        EarlyExit(exits=1).ensures(before, after)


def _int8(before: Compressed) -> Compressed:
    step = LinearQuantization(calibration=Calibration(method="minmax", images=16))
    context = random_context(IMAGE)
    step.requires(before, context)
    after = step.apply(before, context)
    step.ensures(before, after)
    return after


@pytest.mark.parametrize("factory", ["mixed", "small_vit"])
def test_exits_are_quantized_with_the_network_and_the_file_agrees(factory):
    after = _int8(applied(EarlyExit(exits=1, head="pooled"), made(factory)))
    assert "exit_heads.exit_0.linear.parametrizations" in dict(after.module.named_modules())
    target = random_context(IMAGE).target
    session = open_session(to_onnx(after.module, input_shape=IMAGE, target=target).SerializeToString(), optimized=False)
    given, expected = session.run(images().numpy()), outputs(after.module, images())
    for index, each in enumerate(expected):
        # A value on the border of a step may be rounded the other way; a few steps of 1/255 of the range.
        assert np.abs(given[f"output_{index}"] - each.numpy()).max() <= 0.03 * float(each.max() - each.min())


def test_masks_come_before_exits_and_stay():
    pruned = WeightPruning(sparsity=0.5).apply(made("mixed"), random_context(IMAGE))
    after = applied(EarlyExit(exits=1), pruned)
    assert int((after.module.twice.weight == 0).sum()) == int((pruned.module.twice.weight == 0).sum()) > 0


def test_channels_of_a_network_with_exits_are_cut_with_the_heads_that_read_them():
    with_exit = applied(EarlyExit(exits=1), made("inception_like"))
    step = ChannelPruning(sparsity=0.5, importance="l2", round_to=1)
    context = random_context(IMAGE)
    step.requires(with_exit, context)
    after = step.apply(with_exit, context)
    step.ensures(with_exit, after)
    assert after.module.exit_heads.exit_0.linear.in_features == 8 * 16  # 8 of 16 channels at 4x4 places
    assert [each.shape for each in outputs(after.module, images())] == [(4, 10)] * 2


def test_heads_without_a_training_behind_them_are_said():
    ((index, text),) = unfinished_faults([EarlyExit()])
    assert (index, "put a fine_tuning after it" in text) == (0, True)


def test_the_edit_is_plain_json():
    text = edit_of(applied(EarlyExit(exits=1), made("mixed"))).model_dump_json()
    assert json.loads(text)["exits"][0]["node"] == "pool"
