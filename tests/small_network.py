"""A convolutional network of three layers, and the shape of its inputs."""

import torch
from torch import nn


def small() -> nn.Module:
    """Layers of 108, 144 and 640 weights."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(64, 10)
    ).eval()


SMALL = (3, 8, 8)
