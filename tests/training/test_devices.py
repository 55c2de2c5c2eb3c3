import pytest
import torch

from tinyml.errors import UsageError
from tinyml.training.devices import find_device


def test_the_cpu_is_always_there() -> None:
    assert find_device("cpu") == torch.device("cpu")


def test_a_device_that_is_missing_is_refused_with_those_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert find_device("cuda").type == "cuda"
    with pytest.raises(UsageError, match="no device 'cuda:1' here; allowed: cpu, cuda:0"):
        find_device("cuda:1")


def test_each_process_on_a_machine_gets_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for name, value in {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    assert find_device("cuda") == torch.device("cuda:1")
    assert find_device("cpu") == torch.device("cpu")
    with pytest.raises(UsageError, match="device 'cuda:0' cannot serve 2 processes"):
        find_device("cuda:0")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UsageError, match="no device 'cuda:1' here; allowed: cpu, cuda:0"):
        find_device("cuda")
