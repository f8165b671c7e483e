"""Residual networks for images of CIFAR's size."""

from itertools import pairwise
from typing import Literal

from torch import Tensor, nn

from isthmus.models import layers
from isthmus.models.layers import BasicBlock
from isthmus.vocabulary import Count


class ResNetCifar(nn.Module):
    """ResNet-20 to ResNet-110 (He et al., 2016, section 4.2): three stages of 3x3 convolutions.

    Args:
        input_shape: (channels, height, width).
        num_classes: number of logits.
        depth: number of layers, 6n + 2 with n blocks in each stage.
        width: channels of the first stage; the next have twice and four times as many.
        shortcut: how a shortcut between stages gets its channels: "pad" adds zeros (option A, the
            paper's), "projection" is a 1x1 convolution with normalization (option B).
        norm: "batch", or "layer" over the channels at each position.

    Raises:
        ValueError: `depth` is not 6n + 2, `width` or `num_classes` is below 1, `input_shape` has
            another rank, or `shortcut` or `norm` is not allowed.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        num_classes: int,
        depth: int = 20,
        width: Count = 16,
        shortcut: Literal["pad", "projection"] = "pad",
        norm: Literal["batch", "layer"] = "batch",
    ) -> None:
        super().__init__()
        if depth < 8 or depth % 6 != 2:
            raise ValueError(f"depth: must be 6n+2 (20, 32, 44, 56, 110), got {depth}")
        channels, _, _ = layers.image_sizes(input_shape)
        layers.check_at_least("num_classes", num_classes, 1)
        layers.check_at_least("width", width, 1)
        layers.check_one_of("shortcut", shortcut, ("pad", "projection"))
        layers.check_one_of("norm", norm, ("batch", "layer"))
        self.stem = nn.Sequential(
            nn.Conv2d(channels, width, kernel_size=3, padding=1, bias=False),
            layers.build_norm(norm, width),
            nn.ReLU(),
        )
        stages: list[nn.Module] = []
        sizes = (width, width, 2 * width, 4 * width)  # channels into and out of the stages
        for in_channels, out_channels in pairwise(sizes):
            blocks = [BasicBlock(in_channels, out_channels, 2 if stages else 1, shortcut, norm)]
            for _ in range((depth - 2) // 6 - 1):
                blocks.append(BasicBlock(out_channels, out_channels, 1, shortcut, norm))
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.Sequential(*stages)
        self.output = nn.Linear(4 * width, num_classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits, (batch, classes), of inputs, (batch, channels, height, width)."""
        features = self.stages(self.stem(inputs))  # (batch, 4 width, height / 4, width / 4)
        return self.output(features.mean(dim=(-2, -1)))
