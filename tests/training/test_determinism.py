import pytest
import torch

from tinyml.training.determinism import deterministic, seed_step


def test_the_callers_torch_is_as_it_was() -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    with deterministic(torch.device("cpu")):
        inside = torch.are_deterministic_algorithms_enabled()
        torch.rand(5)
    assert (inside, torch.are_deterministic_algorithms_enabled()) == (True, False)
    assert torch.equal(torch.rand(1), expected)


def test_the_callers_torch_is_as_it_was_after_an_error() -> None:
    with pytest.raises(KeyError), deterministic(torch.device("cpu")):
        raise KeyError
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_step_draws_the_same_every_time_and_another_step_something_else() -> None:
    draws = []
    with deterministic(torch.device("cpu")):
        for step in (0, 1, 0):
            seed_step(7, step)
            draws.append(torch.rand(4))
    assert torch.equal(draws[0], draws[2])
    assert not torch.equal(draws[0], draws[1])
