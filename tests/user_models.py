"""Models that nobody here ships: what users bring. Each factory takes no required argument and 3x32x32 images unless it says so."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Mixed(nn.Module):
    """Residual, concat, depthwise and grouped convolutions, a branch without BatchNorm, functional ReLU, a module called twice."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.stem_norm = nn.BatchNorm2d(16)
        self.depthwise = nn.Conv2d(16, 16, 3, padding=1, groups=16, bias=False)
        self.depthwise_norm = nn.BatchNorm2d(16)
        self.grouped = nn.Conv2d(16, 16, 3, padding=1, groups=4)
        self.twice = nn.Conv2d(16, 16, 3, padding=1)
        self.pool = nn.MaxPool2d(2)
        self.head = nn.Linear(32, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem_norm(self.stem(x)))
        x = x + F.relu6(self.depthwise_norm(self.depthwise(x)))
        x = self.pool(x)
        left = F.relu(self.grouped(x))
        right = self.twice(F.relu(self.twice(x)))
        x = torch.cat([left, right], dim=1)
        return self.head(F.adaptive_avg_pool2d(x, 1).flatten(1))


def mixed(classes: int = 10) -> nn.Module:
    return Mixed(classes)


def mlp(classes: int = 10, pixels: int = 3072) -> nn.Module:
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(pixels, 64),
        nn.BatchNorm1d(64),
        nn.ReLU(),
        nn.Linear(64, 48),
        nn.ReLU(),
        nn.Linear(48, classes),
    )


class Signal(nn.Module):
    """One-dimensional convolutions over 1x128 signals."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv1d(1, 16, 7, stride=2, padding=3), nn.BatchNorm1d(16), nn.ReLU(), nn.MaxPool1d(2),
            nn.Conv1d(16, 32, 3, padding=1), nn.ReLU(),
        )  # fmt: skip
        self.head = nn.Linear(32, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x).mean(dim=2))


def signal(classes: int = 10) -> nn.Module:
    return Signal(classes)


class DenseLayer(nn.Module):
    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.conv = nn.Conv2d(channels, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.conv(F.relu(self.norm(x)))], dim=1)


class DenseNetLike(nn.Module):
    """BatchNorm before the convolution, and concatenation."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.block1 = nn.Sequential(*(DenseLayer(16 + 8 * i, 8) for i in range(3)))
        self.transition = nn.Sequential(
            nn.BatchNorm2d(40), nn.ReLU(), nn.Conv2d(40, 24, 1, bias=False), nn.AvgPool2d(2)
        )
        self.block2 = nn.Sequential(*(DenseLayer(24 + 8 * i, 8) for i in range(3)))
        self.norm = nn.BatchNorm2d(48)
        self.head = nn.Linear(48, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.block2(self.transition(self.block1(self.stem(x))))
        return self.head(F.adaptive_avg_pool2d(F.relu(self.norm(x)), 1).flatten(1))


def densenet_like(classes: int = 10) -> nn.Module:
    return DenseNetLike(classes)


class InvertedResidual(nn.Module):
    """MobileNetV3's block: expansion, depthwise, squeeze-excite, hard-swish."""

    def __init__(self, channels: int, expansion: int) -> None:
        super().__init__()
        self.expand = nn.Sequential(
            nn.Conv2d(channels, expansion, 1, bias=False), nn.BatchNorm2d(expansion), nn.Hardswish()
        )
        self.depthwise = nn.Sequential(
            nn.Conv2d(expansion, expansion, 3, padding=1, groups=expansion, bias=False),
            nn.BatchNorm2d(expansion),
            nn.Hardswish(),
        )
        self.squeeze = nn.Conv2d(expansion, expansion // 4, 1)
        self.excite = nn.Conv2d(expansion // 4, expansion, 1)
        self.project = nn.Sequential(nn.Conv2d(expansion, channels, 1, bias=False), nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        y = self.depthwise(self.expand(x))
        attention = F.hardsigmoid(self.excite(F.relu(self.squeeze(F.adaptive_avg_pool2d(y, 1)))))
        return x + self.project(y * attention)


def mobilenetv3_like(classes: int = 10) -> nn.Module:
    stem = nn.Sequential(nn.Conv2d(3, 16, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(16), nn.Hardswish())
    blocks = nn.Sequential(InvertedResidual(16, 32), InvertedResidual(16, 48))
    return nn.Sequential(stem, blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, classes))


class ShuffleUnit(nn.Module):
    """Channel split, a branch, concatenation, and a channel shuffle by reshape and transpose."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.branch = nn.Sequential(
            nn.Conv2d(half, half, 1, bias=False), nn.BatchNorm2d(half), nn.ReLU(),
            nn.Conv2d(half, half, 3, padding=1, groups=half, bias=False), nn.BatchNorm2d(half),
            nn.Conv2d(half, half, 1, bias=False), nn.BatchNorm2d(half), nn.ReLU(),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        left, right = x.chunk(2, dim=1)
        x = torch.cat([left, self.branch(right)], dim=1)
        n, c, h, w = x.shape
        return x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)


def shufflenet_like(classes: int = 10) -> nn.Module:
    stem = nn.Sequential(nn.Conv2d(3, 24, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(24), nn.ReLU())
    return nn.Sequential(
        stem, ShuffleUnit(24), ShuffleUnit(24), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, classes)
    )


class UNetLike(nn.Module):
    """Down, up by a transposed convolution, a skip connection, and a classifying head on top."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.down1 = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.down2 = nn.Sequential(nn.Conv2d(16, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU())
        self.up = nn.ConvTranspose2d(32, 16, 2, stride=2)
        self.join = nn.Sequential(nn.Conv2d(32, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.head = nn.Linear(16, classes)

    def forward(self, x: Tensor) -> Tensor:
        fine = self.down1(x)
        coarse = self.down2(F.max_pool2d(fine, 2))
        joined = self.join(torch.cat([fine, self.up(coarse)], dim=1))
        return self.head(joined.mean(dim=(2, 3)))


def unet_like(classes: int = 10) -> nn.Module:
    return UNetLike(classes)


class Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        n, tokens, width = x.shape
        parts = (
            self.queries_keys_values(x).reshape(n, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        )
        attended = F.scaled_dot_product_attention(parts[0], parts[1], parts[2])
        return self.project(attended.transpose(1, 2).reshape(n, tokens, width))


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, 4)
        self.feed_forward = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.feed_forward(self.norm2(x))


class SmallViT(nn.Module):
    """A vision transformer with 4x4 patches."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 32, 8, stride=8)
        self.positions = nn.Parameter(torch.randn(1, 16, 32) * 0.02)
        self.blocks = nn.Sequential(Block(32), Block(32))
        self.norm = nn.LayerNorm(32)
        self.head = nn.Linear(32, classes)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2) + self.positions
        return self.head(self.norm(self.blocks(tokens)).mean(dim=1))


def small_vit(classes: int = 10) -> nn.Module:
    return SmallViT(classes)


class InceptionLike(nn.Module):
    """Parallel branches of several kernel sizes, concatenated."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)
        )
        self.one = nn.Conv2d(16, 8, 1)
        self.three = nn.Sequential(nn.Conv2d(16, 8, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, padding=1))
        self.pooled = nn.Sequential(nn.AvgPool2d(3, stride=1, padding=1), nn.Conv2d(16, 8, 1))
        self.head = nn.Linear(32, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = F.relu(torch.cat([self.one(x), self.three(x), self.pooled(x)], dim=1))
        return self.head(F.adaptive_avg_pool2d(x, 1).flatten(1))


def inception_like(classes: int = 10) -> nn.Module:
    return InceptionLike(classes)


class DataDependent(nn.Module):
    """A forward that torch.fx cannot trace: it branches on the size of a Python loop over a tensor's value."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.body = Branching()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(8, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.pool(F.relu(self.body(x))).flatten(1))


class Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1)
        self.conv2 = nn.Conv2d(8, 8, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.conv1(x))
        return self.conv2(x) if x.shape[1] > 4 else x


def data_dependent(classes: int = 10) -> nn.Module:
    return DataDependent(classes)


class Encoder(nn.Module):
    """torch's own transformer layer, whose attention is one opaque operator."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 32, 8, stride=8)
        self.encoder = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)
        self.head = nn.Linear(32, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(self.patches(x).flatten(2).transpose(1, 2)).mean(dim=1))


def encoder(classes: int = 10) -> nn.Module:
    return Encoder(classes)
