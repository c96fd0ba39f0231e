"""Residual networks for small images, after He et al. 2016 (arXiv:1512.03385), section 4.2, with a stride-2 stem.

The stem halves the image, each later stage halves it again, and the mean over positions feeds the classifier, so 8x8
digits (maps of 4x4, 2x2, 1x1) and 32x32 icons (16x16, 8x8, 4x4) both work. Channel counts are multiples of 16:
blocks of 16, 32 and 64 rows divide most layers.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut; a 1x1 convolution on the shortcut where the shape changes.

    Parameters
    ----------
    in_channels, out_channels : int
    stride : int
        Of the first convolution and the shortcut.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU()
        self.downsample: nn.Sequential | None = None
        if stride != 1 or in_channels != out_channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels)
            )

    def forward(self, images: Tensor) -> Tensor:  # noqa: D102
        kept = images if self.downsample is None else self.downsample(images)
        out = self.relu(self.bn1(self.conv1(images)))
        return self.relu(self.bn2(self.conv2(out)) + kept)


class SmallResNet(nn.Module):
    """Stem, stages of residual blocks, mean over positions, linear classifier.

    Parameters
    ----------
    widths : sequence of int
        Channels of each stage; every stage but the first halves the map.
    depth : int
        Blocks of each stage.
    in_channels, num_classes : int
    """

    def __init__(self, widths: Sequence[int], depth: int, *, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, widths[0], 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(),
        )
        stages: list[nn.Module] = []
        channels = widths[0]
        for stage, width in enumerate(widths):
            blocks = []
            for block in range(depth):
                blocks.append(ResidualBlock(channels, width, stride=2 if stage and not block else 1))
                channels = width
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.Sequential(*stages)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """Logits [b, num_classes] of images [b, in_channels, H, W]."""
        return self.fc(self.pool(self.stages(self.stem(images))).flatten(1))


def resnet_small(*, num_classes: int = 100, in_channels: int = 1) -> SmallResNet:
    """ResNet of 0.7 million parameters: stages of 32, 64 and 128 channels, two blocks each."""
    return SmallResNet((32, 64, 128), 2, in_channels=in_channels, num_classes=num_classes)


def resnet_tiny(*, num_classes: int = 10, in_channels: int = 1) -> SmallResNet:
    """ResNet of 55,000 parameters for smoke tests: stages of 16, 32 and 48 channels, one block each."""
    return SmallResNet((16, 32, 48), 1, in_channels=in_channels, num_classes=num_classes)
