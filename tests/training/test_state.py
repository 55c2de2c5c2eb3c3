import pytest
import torch

from tinyml.checkpoint.safetensors_file import to_safetensors
from tinyml.errors import CheckpointError, UsageError
from tinyml.training.result import EpochRecord
from tinyml.training.settings import TrainingSettings
from tinyml.training.state import TrainingState, check_identity, from_bytes, run_identity, to_bytes

STATE = TrainingState(
    identity={"setting epochs": 3, "data": "abc"},
    step=7,
    loss_sum=0.1 + 0.2,
    seconds=1.5,
    history=(EpochRecord(epoch=1, loss=0.5, validation_score=None, images_per_second=10.0),),
    tensors={"module/weight": torch.tensor([[1.0, -0.0]])},
)


def test_a_state_survives_its_bytes_exactly() -> None:
    again = from_bytes(to_bytes(STATE))
    assert (again.identity, again.step, again.loss_sum, again.history) == (
        STATE.identity,
        STATE.step,
        STATE.loss_sum,
        STATE.history,
    )
    assert torch.equal(again.tensors["module/weight"], STATE.tensors["module/weight"])


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda data: data[:-1] + bytes([data[-1] ^ 1]), id="one flipped bit"),
        pytest.param(lambda data: data[: len(data) // 2], id="cut short"),
        pytest.param(lambda _: b"", id="empty"),
    ],
)
def test_a_damaged_state_is_refused(damage: object) -> None:
    with pytest.raises(CheckpointError, match="damaged"):
        from_bytes(damage(to_bytes(STATE)))  # type: ignore[operator]  # a function, from the parameters above


def test_a_state_of_another_kind_is_refused() -> None:
    with pytest.raises(CheckpointError, match="not one that this version wrote"):
        from_bytes(to_safetensors(STATE.tensors, {"training_state": '{"step": 7}'}))


def test_a_changed_run_is_refused_with_every_difference() -> None:
    with pytest.raises(UsageError, match=r"data was abc, is xyz; setting epochs was 3, is 4"):
        check_identity(STATE.identity, {"setting epochs": 4, "data": "xyz"})


def test_the_same_run_is_accepted() -> None:
    check_identity(STATE.identity, dict(STATE.identity))


def test_a_training_of_one_process_is_not_continued_by_two() -> None:
    one, two = (run_identity(TrainingSettings(), "abc", "def", device="cpu", processes=number) for number in (1, 2))
    with pytest.raises(UsageError, match="processes was 1, is 2"):
        check_identity(one, two)
