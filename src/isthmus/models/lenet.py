"""LeNet-5, the convolutional network of LeCun et al. (1998)."""

import torch
from torch import Tensor, nn

from isthmus.models import layers


class LeNet5(nn.Module):
    """LeNet-5 (LeCun et al., 1998) with ReLU, average pooling and every pair of maps connected.

    Images smaller than the 32 x 32 pixels of the paper get a border of 2 zeros, which makes
    28 x 28 the paper's size.

    Args:
        input_shape: (channels, height, width), height and width at least 12.
        num_classes: number of logits.

    Raises:
        ValueError: `input_shape` has another rank or is too small, or `num_classes` is below 1.
    """

    def __init__(self, input_shape: tuple[int, ...], num_classes: int) -> None:
        super().__init__()
        channels, height, width = layers.image_sizes(input_shape, smallest=12)
        layers.check_at_least("num_classes", num_classes, 1)
        padding = 2 if min(height, width) < 32 else 0
        self.features = nn.Sequential(
            nn.Conv2d(channels, 6, kernel_size=5, padding=padding),
            nn.ReLU(),
            nn.AvgPool2d(2),
            nn.Conv2d(6, 16, kernel_size=5),
            nn.ReLU(),
            nn.AvgPool2d(2),
        )
        num_features = (
            16 * _size_after_pooling(height, padding) * _size_after_pooling(width, padding)
        )
        self.hidden = nn.Sequential(
            nn.Linear(num_features, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU()
        )
        self.output = nn.Linear(84, num_classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits, (batch, classes), of inputs, (batch, channels, height, width)."""
        features = torch.flatten(self.features(inputs), 1)  # (batch, features)
        return self.output(self.hidden(features))


def _size_after_pooling(size: int, padding: int) -> int:
    return ((size + 2 * padding - 4) // 2 - 4) // 2
