"""The fine_tuning pass: what it trains, what it keeps, who teaches, what it refuses. The loop has its own tests."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from digits_students import DIGITS, differing, lenet, noise, state, student, tuned
from random_task import random_context, random_task, uncompressed
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils import parametrize

from tinyml.data import Task
from tinyml.errors import CheckpointError, DataError, ModelError, Refused, TinymlError, UsageError
from tinyml.layers.attachment import Attachment
from tinyml.passes import Compressed
from tinyml.passes.fine_tuning import Distillation, FineTuning

Record = dict[str, object]


class Keep(Attachment):
    """Leaves only the weights where its mask is true."""

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask)
        self.seen: list[float] = []

    def forward(self, weight: Tensor) -> Tensor:
        return weight * self.mask

    def after_step(self, original: Tensor, share: float) -> None:
        self.seen.append(share)

    def fault(self, weight: Tensor) -> str:
        return "a pruned weight is not zero" if bool(weight[~self.mask].any()) else ""


class Unfinished(Attachment):
    """Is never done."""

    def forward(self, weight: Tensor) -> Tensor:
        return weight

    def fault(self, weight: Tensor) -> str:
        return "on the way"


def test_it_trains_its_own_copy_and_adds_no_edit() -> None:
    before = student()
    kept = state(before)
    after = tuned(FineTuning(epochs=1, batch_size=16), before, noise())
    assert differing(kept, state(before)) == set()
    assert {name for name, _ in before.module.named_parameters()} <= differing(kept, state(after))
    assert after.architecture == before.architecture
    assert not after.module.training


def test_the_same_seed_gives_the_same_weights_and_another_seed_does_not() -> None:
    settings = FineTuning(epochs=2, batch_size=16, distill=Distillation())
    first, again = (state(tuned(settings, student(), noise())) for _ in range(2))
    other = state(tuned(settings, student(), noise(seed=1)))
    assert differing(first, again) == set()
    assert differing(first, other) != set()


def test_what_is_attached_is_trained_with_the_network_and_keeps_its_promise() -> None:
    before = student()
    layer = next(module for module in before.module.modules() if isinstance(module, nn.Linear))
    parametrize.register_parametrization(layer, "weight", Keep(layer.weight > 0))
    after = tuned(FineTuning(epochs=2, batch_size=16), before, noise())
    trained = next(module for module in after.module.modules() if isinstance(module, nn.Linear))
    attachment = trained.parametrizations.weight[0]  # type: ignore[union-attr, index]  # a ModuleDict of lists
    assert torch.equal(trained.weight != 0, attachment.mask)
    assert attachment.seen == [(step + 1) / 8 for step in range(8)]


def test_a_broken_promise_is_told_with_the_name_of_the_weight() -> None:
    before = student()
    layer = next(module for module in before.module.modules() if isinstance(module, nn.Linear))
    attachment = Keep(layer.weight > 0)
    parametrize.register_parametrization(layer, "weight", attachment)
    after = before.copy()
    for module in after.module.modules():
        if isinstance(module, Keep):
            module.forward = lambda weight: weight + 1.0  # type: ignore[method-assign]  # breaks it on purpose
    with pytest.raises(
        TinymlError, match=r"broke what an earlier pass promised: \S+\.weight: a pruned weight is not zero"
    ):
        FineTuning().ensures(before, after)


def test_frozen_modules_are_the_same_bytes_after_it() -> None:
    before = student()
    names = [name for name, module in before.module.named_modules() if isinstance(module, nn.Conv2d | nn.BatchNorm2d)]
    after = tuned(FineTuning(epochs=1, batch_size=16, freeze=tuple(names)), before, noise())
    changed = differing(state(before), state(after))
    assert changed
    assert not [name for name in changed if name.rpartition(".")[0] in names]


def test_a_frozen_parameter_that_changed_is_told() -> None:
    before = student()
    name, _ = next(iter(before.module.named_parameters()))
    after = before.copy()
    with torch.no_grad():
        after.module.get_parameter(name).add_(1)
    with pytest.raises(TinymlError, match=f"'{name}' was to be frozen and has changed"):
        FineTuning(freeze=(name.rpartition(".")[0],)).ensures(before, after)


def test_weights_that_are_not_finite_are_told() -> None:
    after = student()
    with torch.no_grad():
        next(after.module.parameters()).fill_(float("nan"))
    with pytest.raises(TinymlError, match="is not finite after the training; lower learning_rate"):
        FineTuning().ensures(student(), after)


def test_a_student_that_only_listens_to_its_teacher_comes_closer_to_it() -> None:
    context, before = noise(), student()
    assert context.task is not None
    assert context.task.train is not None
    inputs = torch.from_numpy(context.task.inputs(context.task.train.x))

    def distance(model: Compressed) -> float:
        with torch.no_grad():
            return float((model.module(inputs).softmax(1) - context.teacher(inputs).softmax(1)).abs().mean())

    distill = Distillation(weight=1.0, temperature=2.0)
    after = tuned(FineTuning(epochs=20, batch_size=16, learning_rate=0.05, distill=distill), before, context)
    assert distance(after) < 0.7 * distance(before)


def test_the_teacher_stays_as_it_was() -> None:
    context = noise()
    kept = {name: tensor.clone() for name, tensor in context.teacher.state_dict().items()}
    tuned(FineTuning(epochs=1, batch_size=16, distill=Distillation()), student(), context)
    assert differing(kept, dict(context.teacher.state_dict())) == set()
    assert all(parameter.requires_grad for parameter in context.teacher.parameters())


def test_another_checkpoint_can_teach(tmp_path: Path) -> None:
    save_file(lenet(1).state_dict(), tmp_path / "teacher.safetensors")
    named = Distillation(teacher=tmp_path / "teacher.safetensors")
    by_file = tuned(FineTuning(epochs=1, batch_size=16, distill=named), student(), noise(teacher=nn.Identity()))
    by_root = tuned(FineTuning(epochs=1, batch_size=16, distill=Distillation()), student(), noise())
    assert differing(state(by_file), state(by_root)) == set()


def test_without_epochs_it_re_calibrates_batch_norm_alone() -> None:
    shape = (3, 8, 8)
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10))
    before = uncompressed(network, shape)
    task = random_task(shape)
    context = replace(random_context(shape), task=task)
    after = tuned(FineTuning(epochs=0, batchnorm_images=64), before, context)
    assert differing(state(before), state(after)) == {"1.running_mean", "1.running_var"}
    assert task.train is not None
    with torch.no_grad():
        mean = before.module[0](torch.from_numpy(task.train.x)).mean((0, 2, 3))  # type: ignore[operator, index]
    # Sums of 2,304 float32 numbers near 1: a relative error below 2304 x 2^-24 = 1.4e-4.
    np.testing.assert_allclose(after.module.get_buffer("1.running_mean"), mean, atol=2e-4)


def test_every_epoch_and_the_best_of_them_are_recorded() -> None:
    facts: list[Record] = []
    task = random_task(DIGITS)
    validated = replace(task, validation=task.train, fingerprint="")
    tuned(
        FineTuning(epochs=3, batch_size=16),
        student(),
        noise(task=validated, record=lambda said: facts.append(dict(said))),
    )
    epochs = [said for said in facts if said["event"] == "epoch"]
    best = max(epochs, key=lambda said: (said["validation_score"], said["epoch"]))  # type: ignore[arg-type]
    assert [said["epoch"] for said in epochs] == [1, 2, 3]
    assert facts[-1] == {"event": "best epoch", "epoch": best["epoch"], "validated": True}


def no_train(task: Task) -> Task:
    return replace(task, train=None, validation=task.train, fingerprint="")


@pytest.mark.parametrize(
    ("settings", "changed", "error", "message"),
    [
        pytest.param({}, {"task": None}, DataError, "fine_tuning needs images to train on: give --data", id="no data"),
        pytest.param({}, {"task": no_train(random_task(DIGITS))}, DataError, "has no train split", id="no train split"),
        pytest.param({"batch_size": 65}, {}, UsageError, "batch_size is 65, but the train split .* 64", id="batch"),
        pytest.param({"freeze": ("clasifier*",)}, {}, Refused, "clasifier", id="pattern matches nothing"),
        pytest.param({"freeze": ("*",)}, {}, Refused, "leaves no parameter to train", id="everything is frozen"),
        pytest.param({"epochs": 0}, {}, Refused, "both 0, so there is nothing to do", id="nothing to do"),
        pytest.param({"distill": Distillation()}, {"teacher": lenet(classes=7)}, Refused, "7", id="other classes"),
    ],
)
def test_it_refuses_before_work(
    settings: dict[str, object], changed: dict[str, object], error: type[Refused], message: str
) -> None:
    with pytest.raises(error, match=message):
        FineTuning(**settings).requires(student(), noise(**changed))  # type: ignore[arg-type]  # fields of the pass


def test_a_hint_that_matches_nothing_is_refused() -> None:
    with pytest.raises(Refused, match="hint 'layer9' matches no module that the student calls"):
        FineTuning(distill=Distillation(hints=("layer9",))).requires(student(), noise())


def test_a_hint_means_modules_and_not_what_is_attached_to_them() -> None:
    before = student()
    name, layer = next((n, m) for n, m in before.module.named_modules() if isinstance(m, nn.Linear))
    parametrize.register_parametrization(layer, "weight", Keep(layer.weight > 0))
    plain, hinted = (
        tuned(FineTuning(epochs=1, batch_size=16, distill=Distillation(hints=hints)), before, noise())
        for hints in ((), (f"{name}*",))
    )
    assert differing(state(plain), state(hinted))


def test_a_training_that_diverges_says_what_is_kept_and_what_to_lower() -> None:
    settings = FineTuning(epochs=3, batch_size=16, learning_rate=1e30)
    with pytest.raises(TinymlError, match=r"diverged in epoch \d.*Lower learning_rate .*start anew with --overwrite"):
        settings.apply(student(), noise())


def test_a_teacher_that_is_not_there_is_refused() -> None:
    distill = Distillation(teacher=Path("nowhere.pt"))
    with pytest.raises(CheckpointError, match=r"nowhere\.pt"):
        FineTuning(distill=distill).requires(student(), noise())


def test_a_teacher_of_an_unknown_model_is_refused(tmp_path: Path) -> None:
    save_file(lenet(1).state_dict(), tmp_path / "teacher.safetensors")
    distill = Distillation(teacher=tmp_path / "teacher.safetensors", teacher_model="lenet-digit")
    with pytest.raises(ModelError, match="lenet-digits"):
        FineTuning(distill=distill).requires(student(), noise())


def test_what_describes_a_teacher_that_is_not_given_is_refused() -> None:
    with pytest.raises(Refused, match="teacher_model and teacher_args describe a teacher: give its checkpoint"):
        Distillation(teacher_model="resnet20-cifar")


def test_a_ramp_on_a_frozen_layer_is_refused() -> None:
    before = student()
    name, layer = next((n, m) for n, m in before.module.named_modules() if isinstance(m, nn.Linear))
    parametrize.register_parametrization(layer, "weight", Unfinished())
    with pytest.raises(Refused, match=rf"freeze covers {name}\.weight, which a ramp still prunes"):
        FineTuning(freeze=(name,)).requires(before, noise())
    FineTuning(freeze=("conv*",)).requires(before, noise())


def test_without_epochs_the_size_of_a_batch_does_not_matter_and_nothing_can_be_distilled() -> None:
    FineTuning(epochs=0, batchnorm_images=8, batch_size=1000).requires(student(), noise())
    with pytest.raises(Refused, match="distill needs epochs"):
        FineTuning(epochs=0, batchnorm_images=8, distill=True).requires(student(), noise())
