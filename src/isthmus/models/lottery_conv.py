"""Conv-2, Conv-4 and Conv-6, the convolutional networks of the lottery ticket hypothesis."""

from typing import Literal

import torch
from torch import Tensor, nn

from isthmus.models import layers as models_layers


class LotteryConv(nn.Module):
    """Conv-2, Conv-4 and Conv-6 (Frankle & Carbin, 2019, figure 2).

    Pairs of 3x3 convolutions with 64, 128 and 256 channels, 2x2 max pooling after each pair, then
    linear layers of 256 and 256. For Conv-6 the figure says 1.7M parameters, where the
    architecture it describes has 2.26M (its 1.1M in convolutions agree).

    Args:
        input_shape: (channels, height, width), height and width at least 2 ** (depth / 2).
        num_classes: number of logits.
        depth: number of convolutions.

    Raises:
        ValueError: `depth` is another number, `input_shape` has another rank or is too small, or
            `num_classes` is below 1.
    """

    def __init__(
        self, input_shape: tuple[int, ...], num_classes: int, depth: Literal[2, 4, 6] = 2
    ) -> None:
        super().__init__()
        models_layers.check_one_of("depth", depth, (2, 4, 6))
        shrink = 2 ** (depth // 2)
        channels, height, width = models_layers.image_sizes(input_shape, smallest=shrink)
        models_layers.check_at_least("num_classes", num_classes, 1)
        layers: list[nn.Module] = []
        for num_filters in (64, 128, 256)[: depth // 2]:
            layers += [nn.Conv2d(channels, num_filters, kernel_size=3, padding=1), nn.ReLU()]
            layers += [nn.Conv2d(num_filters, num_filters, kernel_size=3, padding=1), nn.ReLU()]
            layers += [nn.MaxPool2d(2)]
            channels = num_filters
        self.features = nn.Sequential(*layers)
        num_features = channels * (height // shrink) * (width // shrink)
        self.hidden = nn.Sequential(
            nn.Linear(num_features, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU()
        )
        self.output = nn.Linear(256, num_classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits, (batch, classes), of inputs, (batch, channels, height, width)."""
        features = torch.flatten(self.features(inputs), 1)  # (batch, features)
        return self.output(self.hidden(features))
