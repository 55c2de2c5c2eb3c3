"""A convolutional network of LeNet's size for the 8 x 8 digits.

After LeCun et al. 1998 ("Gradient-based learning applied to document recognition"), with BatchNorm and ReLU.
"""

from torch import Tensor, nn

from tinyml.models.arguments import check_classes


class LeNet(nn.Module):
    """Two convolutions, a max pooling and two linear layers."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(32)
        self.relu2 = nn.ReLU()
        self.pool = nn.MaxPool2d(2)
        self.linear1 = nn.Linear(32 * 4 * 4, 64)
        self.relu3 = nn.ReLU()
        self.linear2 = nn.Linear(64, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, 1, 8, 8) to logits (N, classes)."""
        x = self.relu1(self.bn1(self.conv1(x)))
        x = self.pool(self.relu2(self.bn2(self.conv2(x))))
        logits: Tensor = self.linear2(self.relu3(self.linear1(x.flatten(1))))
        return logits


def lenet_digits(*, classes: int = 10) -> nn.Module:
    """Return the network: 38,330 parameters and 337,536 MACs with 10 classes."""
    return LeNet(check_classes(classes))
