"""The CIFAR ResNets of He et al. 2015 (arXiv:1512.03385, section 4.2) with parameter-free shortcuts (option A).

The names of the modules are those of the published checkpoints (akamaster/pytorch_resnet_cifar10), which load strictly
once their wrappers are undone. Depth = 6 n + 2 with n blocks in each of three stages of 16, 32 and 64 channels.
"""

from torch import Tensor, nn
from torch.nn import functional

from tinyml.models.arguments import check_classes


class SubsampleAndPad(nn.Module):
    """The option-A shortcut: every second pixel, with zero channels added on both sides."""

    def __init__(self, channels_added: int) -> None:
        super().__init__()
        self.before = channels_added // 2
        self.after = channels_added - self.before

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C + channels_added, ceil(H / 2), ceil(W / 2))."""
        return functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.before, self.after))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut around them."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels_out)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels_out)
        self.shortcut = SubsampleAndPad(channels_out - channels_in) if stride == 2 else nn.Identity()
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, channels_in, H, W) to (N, channels_out, ceil(H / stride), ceil(W / stride))."""
        residual = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        out: Tensor = self.relu2(residual + self.shortcut(x))
        return out


class CifarResNet(nn.Module):
    """A stem, three stages of `blocks` blocks, global average pooling and a linear classifier."""

    def __init__(self, blocks: int, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU()
        self.layer1 = _stage(16, 16, blocks, stride=1)
        self.layer2 = _stage(16, 32, blocks, stride=2)
        self.layer3 = _stage(32, 64, blocks, stride=2)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(64, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, 3, H, W) to logits (N, classes)."""
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        logits: Tensor = self.linear(self.pool(x).flatten(1))
        return logits


def resnet20_cifar(*, classes: int = 10) -> nn.Module:
    """Return ResNet-20: 269,722 parameters and 40,551,040 MACs with 10 classes at 32 x 32."""
    return CifarResNet(3, check_classes(classes))


def resnet32_cifar(*, classes: int = 10) -> nn.Module:
    """Return ResNet-32."""
    return CifarResNet(5, check_classes(classes))


def resnet44_cifar(*, classes: int = 10) -> nn.Module:
    """Return ResNet-44."""
    return CifarResNet(7, check_classes(classes))


def resnet56_cifar(*, classes: int = 10) -> nn.Module:
    """Return ResNet-56."""
    return CifarResNet(9, check_classes(classes))


def resnet110_cifar(*, classes: int = 10) -> nn.Module:
    """Return ResNet-110."""
    return CifarResNet(18, check_classes(classes))


def _stage(channels_in: int, channels_out: int, blocks: int, *, stride: int) -> nn.Sequential:
    first = BasicBlock(channels_in, channels_out, stride)
    return nn.Sequential(first, *(BasicBlock(channels_out, channels_out, 1) for _ in range(blocks - 1)))
