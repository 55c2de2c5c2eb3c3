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


def test_each_process_draws_something_of_its_own_and_the_first_what_one_alone_draws() -> None:
    draws = []
    with deterministic(torch.device("cpu")):
        for rank in (0, 1, 2, 1):
            seed_step(7, 3, rank=rank)
            draws.append(torch.rand(4).tolist())
        seed_step(7, 3)
        assert torch.rand(4).tolist() == draws[0]
    assert draws[1] == draws[3]
    assert len({tuple(draw) for draw in draws}) == 3
