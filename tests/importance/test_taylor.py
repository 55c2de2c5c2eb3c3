import torch
import torch.nn.functional as F
from tiny_group import Tiny

from tinyml.data import Task
from tinyml.graph.channel_groups import ChannelGroup
from tinyml.importance import IMPORTANCES, gather


def test_the_score_is_the_mean_squared_slope_of_an_images_loss_along_a_gate_on_the_channel(
    network: Tiny, group: ChannelGroup, task: Task
) -> None:
    slopes = []
    for x, y in task.batches(task.calibration_split, 1):
        gate = torch.ones(3, 1, 1, requires_grad=True)
        outputs = network.head((network.read(torch.from_numpy(x)) * gate).flatten(1))
        (slope,) = torch.autograd.grad(F.cross_entropy(outputs, torch.from_numpy(y)), gate)
        slopes.append(slope.flatten())
    evidence = gather(network, [group], needs="gradients", task=task, images=16)
    expected = torch.stack(slopes).square().mean(dim=0)
    torch.testing.assert_close(IMPORTANCES["taylor"].score(group, evidence), expected)
