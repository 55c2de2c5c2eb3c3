"""MobileNetV2 (Sandler et al. 2018, arXiv:1801.04381) for 32 x 32 images.

As in the paper: inverted residuals with linear bottlenecks and ReLU6, a shortcut only where the shape is kept. Our
difference: the stem and the first two groups keep the resolution (stride 1), so that the last features are 4 x 4.
"""

from torch import Tensor, nn

from tinyml.models.arguments import check_classes

# (expansion, channels, blocks, stride of the first block) of each group
GROUPS = ((1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


class InvertedResidual(nn.Module):
    """Expand by a 1x1 convolution, filter each channel by a 3x3 one, project back without an activation."""

    def __init__(self, channels_in: int, channels_out: int, expansion: int, stride: int) -> None:
        super().__init__()
        hidden = channels_in * expansion
        self.expand = _conv_bn_relu6(channels_in, hidden, kernel=1) if expansion != 1 else nn.Identity()
        self.depthwise = _conv_bn_relu6(hidden, hidden, kernel=3, stride=stride, groups=hidden)
        self.project = nn.Sequential(nn.Conv2d(hidden, channels_out, 1, bias=False), nn.BatchNorm2d(channels_out))
        self.has_shortcut = stride == 1 and channels_in == channels_out

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, channels_in, H, W) to (N, channels_out, ceil(H / stride), ceil(W / stride))."""
        out: Tensor = self.project(self.depthwise(self.expand(x)))
        return x + out if self.has_shortcut else out


class MobileNetV2(nn.Module):
    """A stem, 17 inverted residuals, a 1x1 head of 1,280 channels, global average pooling and a classifier."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.stem = _conv_bn_relu6(3, 32, kernel=3)
        self.blocks = nn.Sequential()
        channels = 32
        for expansion, channels_out, blocks, stride in GROUPS:
            for index in range(blocks):
                self.blocks.append(InvertedResidual(channels, channels_out, expansion, stride if index == 0 else 1))
                channels = channels_out
        self.head = _conv_bn_relu6(channels, 1280, kernel=1)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(1280, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, 3, H, W) to logits (N, classes)."""
        features = self.head(self.blocks(self.stem(x)))
        logits: Tensor = self.classifier(self.pool(features).flatten(1))
        return logits


def mobilenetv2_cifar(*, classes: int = 10) -> nn.Module:
    """Return MobileNetV2 at width 1."""
    return MobileNetV2(check_classes(classes))


def _conv_bn_relu6(
    channels_in: int, channels_out: int, *, kernel: int, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, kernel, stride=stride, padding=kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU6(),
    )
