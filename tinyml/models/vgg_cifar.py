"""The small VGG of the pruning and quantization labs: eight 3x3 convolutions, each with BatchNorm and ReLU.

After Simonyan & Zisserman 2014 (arXiv:1409.1556), with one linear layer behind a mean over height and width.
"""

from torch import Tensor, nn

from tinyml.models.arguments import check_classes

# Output channels of each convolution; "M" halves height and width by max pooling.
PLAN: tuple[int | str, ...] = (64, 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M")


class Vgg(nn.Module):
    """A backbone of named layers (conv0, bn0, relu0, conv1, ..., pool3) and a linear classifier."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.backbone = nn.Sequential()
        channels, convolutions, pools = 3, 0, 0
        for step in PLAN:
            if isinstance(step, int):
                conv = nn.Conv2d(channels, step, 3, padding=1, bias=False)
                nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
                self.backbone.add_module(f"conv{convolutions}", conv)
                self.backbone.add_module(f"bn{convolutions}", nn.BatchNorm2d(step))
                self.backbone.add_module(f"relu{convolutions}", nn.ReLU())
                channels, convolutions = step, convolutions + 1
            else:
                self.backbone.add_module(f"pool{pools}", nn.MaxPool2d(2))
                pools += 1
        self.classifier = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, 3, H, W), H and W at least 16, to logits (N, classes)."""
        logits: Tensor = self.classifier(self.backbone(x).mean((2, 3)))
        return logits


def vgg_cifar(*, classes: int = 10) -> nn.Module:
    """Return the VGG: 9,228,362 parameters and 605,754,368 MACs with 10 classes at 32 x 32."""
    return Vgg(check_classes(classes))
