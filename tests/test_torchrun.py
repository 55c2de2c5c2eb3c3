import pytest

from tinyml.errors import UsageError
from tinyml.torchrun import Launch, launch

NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_a_process_that_nobody_launched_is_alone_and_leads(environment: pytest.MonkeyPatch) -> None:
    assert (launch(), launch().alone, launch().leads) == (Launch(), True, True)


def test_the_environment_of_torchrun_is_read(environment: pytest.MonkeyPatch) -> None:
    for name, value in zip(NAMES, "3412", strict=True):
        environment.setenv(name, value)
    assert launch() == Launch(rank=3, world_size=4, local_rank=1, local_world_size=2)
    assert (str(launch()), launch().alone, launch().leads) == ("process 3 of 4", False, False)


@pytest.mark.parametrize(("rank", "world_size"), [("2", "2"), ("0", "0"), ("one", "2"), ("-1", "2")])
def test_nonsense_is_refused(environment: pytest.MonkeyPatch, rank: str, world_size: str) -> None:
    environment.setenv("RANK", rank)
    environment.setenv("WORLD_SIZE", world_size)
    with pytest.raises(UsageError, match="start the processes with torchrun"):
        launch()
