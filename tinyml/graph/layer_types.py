"""Which of torch's layers are convolutions and normalizations; unions, so that isinstance tells mypy, too."""

from torch import nn

PlainConvolution = nn.Conv1d | nn.Conv2d | nn.Conv3d
TransposedConvolution = nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d
Convolution = PlainConvolution | TransposedConvolution
BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d
InstanceNorm = nn.InstanceNorm1d | nn.InstanceNorm2d | nn.InstanceNorm3d
ChannelNorm = BatchNorm | InstanceNorm | nn.GroupNorm
"""Norms over inputs (N, C, ...) with tensors for the channels C."""
LastNorm = nn.LayerNorm | nn.RMSNorm
"""Norms over the last dimensions of their inputs."""
