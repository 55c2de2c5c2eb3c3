import torch
from tiny_group import Tiny

from tinyml.data import Task
from tinyml.graph.channel_groups import ChannelGroup
from tinyml.importance import IMPORTANCES, gather


def test_the_score_is_the_relative_sum_of_squared_weights_times_mean_squared_gradients(
    network: Tiny, group: ChannelGroup, task: Task
) -> None:
    split = task.calibration_split
    with torch.no_grad():
        read = network.read(torch.from_numpy(task.inputs(split.x))).flatten(1)  # (16, 12)
        errors = network.head(read).softmax(dim=1)  # d cross-entropy / d logits is probability - one-hot
        errors[torch.arange(16), torch.from_numpy(split.y)] -= 1
        fisher = torch.einsum("no,ni->oi", errors.square(), read.square()) / 16
        saliencies = fisher * network.head.weight.square() / 2
    evidence = gather(network, [group], needs="gradients", task=task, images=16)
    sums = saliencies.sum(dim=0).reshape(3, 4).sum(dim=1)
    torch.testing.assert_close(IMPORTANCES["hessian"].score(group, evidence), sums / sums.mean())
