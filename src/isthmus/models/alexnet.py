"""AlexNet with batch normalization."""

import torch
from torch import Tensor, nn

from isthmus.models import layers
from isthmus.vocabulary import Share


class AlexNet(nn.Module):
    """AlexNet in one column (Krizhevsky, 2014), with batch normalization after two convolutions.

    Batch normalization replaces the local normalization of Krizhevsky et al. (2012). The size of
    the first hidden linear layer depends on the image: at 224 x 224 pixels, 256 x 6 x 6 inputs.

    Args:
        input_shape: (channels, height, width), height and width at least 63.
        num_classes: number of logits.
        dropout: probability of zeroing a unit of the two hidden linear layers, in [0, 1).

    Raises:
        ValueError: `input_shape` has another rank or is too small, `num_classes` is below 1, or
            `dropout` is no probability.
    """

    def __init__(
        self, input_shape: tuple[int, ...], num_classes: int, dropout: Share = 0.5
    ) -> None:
        super().__init__()
        channels, height, width = layers.image_sizes(input_shape, smallest=63)
        layers.check_at_least("num_classes", num_classes, 1)
        layers.check_probability("dropout", dropout)
        self.features = nn.Sequential(
            nn.Conv2d(channels, 64, kernel_size=11, stride=4, padding=2),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.MaxPool2d(kernel_size=3, stride=2),
            nn.Conv2d(64, 192, kernel_size=5, padding=2),
            nn.BatchNorm2d(192),
            nn.ReLU(),
            nn.MaxPool2d(kernel_size=3, stride=2),
            nn.Conv2d(192, 384, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.Conv2d(384, 256, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.Conv2d(256, 256, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(kernel_size=3, stride=2),
        )
        self.hidden = nn.Sequential(
            nn.Linear(256 * _output_size(height) * _output_size(width), 4096),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(4096, 4096),
            nn.ReLU(),
            nn.Dropout(dropout),
        )
        self.output = nn.Linear(4096, num_classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits, (batch, classes), of inputs, (batch, channels, height, width)."""
        features = torch.flatten(self.features(inputs), 1)  # (batch, features)
        return self.output(self.hidden(features))


def _output_size(size: int) -> int:
    size = (size + 2 * 2 - 11) // 4 + 1  # the first convolution
    for _ in range(3):
        size = (size - 3) // 2 + 1  # max pooling
    return size
