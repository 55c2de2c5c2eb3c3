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
