"""Residual networks for ImageNet."""

from typing import Literal

from torch import Tensor, nn

from isthmus.models import layers
from isthmus.models.layers import BasicBlock, Bottleneck
from isthmus.vocabulary import Count

_STAGES: dict[int, tuple[type[BasicBlock] | type[Bottleneck], tuple[int, ...]]] = {
    18: (BasicBlock, (2, 2, 2, 2)),  # blocks in each stage (He et al., 2016, table 1)
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
    152: (Bottleneck, (3, 8, 36, 3)),
}


class ResNet(nn.Module):
    """ResNet-18 to ResNet-152 (He et al., 2016, table 1), four stages with projection shortcuts.

    Args:
        input_shape: (channels, height, width).
        num_classes: number of logits.
        depth: number of layers.
        stem: first layers: "imagenet" is a 7x7 convolution and 3x3 max pooling, both with stride
            2; "cifar" is a 3x3 convolution with stride 1, for small images.
        width: channels of the first stage (of its 3x3 convolutions in ResNet-50 and deeper); each
            further stage has twice as many.

    Raises:
        ValueError: `depth` or `stem` is not allowed, `width` or `num_classes` is below 1,
            or `input_shape` has another rank.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        num_classes: int,
        depth: Literal[18, 34, 50, 101, 152] = 18,
        stem: Literal["imagenet", "cifar"] = "imagenet",
        width: Count = 64,
    ) -> None:
        super().__init__()
        layers.check_one_of("depth", depth, (18, 34, 50, 101, 152))
        layers.check_one_of("stem", stem, ("imagenet", "cifar"))
        channels, _, _ = layers.image_sizes(input_shape)
        layers.check_at_least("num_classes", num_classes, 1)
        layers.check_at_least("width", width, 1)
        self.stem = _stem(stem, channels, width)
        block, stage_lengths = _STAGES[depth]
        stages: list[nn.Module] = []
        channels, num_filters = width, width
        for num_blocks in stage_lengths:
            blocks = [block(channels, num_filters, stride=2 if stages else 1)]
            channels = block.expansion * num_filters
            blocks += [block(channels, num_filters, stride=1) for _ in range(num_blocks - 1)]
            stages.append(nn.Sequential(*blocks))
            num_filters *= 2
        self.stages = nn.Sequential(*stages)
        self.output = nn.Linear(channels, num_classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits, (batch, classes), of inputs, (batch, channels, height, width)."""
        features = self.stages(self.stem(inputs))  # with the stem of imagenet: height / 32
        return self.output(features.mean(dim=(-2, -1)))


def _stem(stem: Literal["imagenet", "cifar"], channels: int, width: int) -> nn.Sequential:
    if stem == "cifar":
        convolution = nn.Conv2d(channels, width, kernel_size=3, padding=1, bias=False)
        return nn.Sequential(convolution, nn.BatchNorm2d(width), nn.ReLU())
    convolution = nn.Conv2d(channels, width, kernel_size=7, stride=2, padding=3, bias=False)
    pooling = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
    return nn.Sequential(convolution, nn.BatchNorm2d(width), nn.ReLU(), pooling)
