import torch
import torch.nn.functional as F
from tiny_group import Tiny

from tinyml.data import Task
from tinyml.importance.image_gradients import fisher_diagonal
from tinyml.progress import Silent


def fisher(network: Tiny, task: Task, **parameters: torch.nn.Parameter) -> dict[str, torch.Tensor]:
    return fisher_diagonal(network, parameters, task, images=16, seed=0, progress=Silent())


def test_fishers_diagonal_is_the_mean_of_squares_over_single_images(network: Tiny, task: Task) -> None:
    squares = []
    for x, y in task.batches(task.calibration_split, 1):
        loss = F.cross_entropy(network(torch.from_numpy(x)), torch.from_numpy(y))
        (gradient,) = torch.autograd.grad(loss, network.head.weight)
        squares.append(gradient.square())
    torch.testing.assert_close(
        fisher(network, task, head=network.head.weight)["head"], torch.stack(squares).mean(dim=0)
    )


def test_a_parameter_that_the_loss_does_not_depend_on_has_none(network: Tiny, task: Task) -> None:
    found = fisher(network, task, other=torch.nn.Parameter(torch.ones(3)))
    assert found["other"].tolist() == [0, 0, 0]


def test_the_network_is_left_as_it_was(network: Tiny, task: Task) -> None:
    network.train()
    network.head.weight.requires_grad_(False)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    fisher(network, task, head=network.head.weight)
    assert (network.training, network.head.weight.requires_grad, network.head.weight.grad) == (True, False, None)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
