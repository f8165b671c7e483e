"""A small convolutional network for CIFAR."""

import torch
from torch import Tensor, nn

from isthmus.models import layers
from isthmus.vocabulary import Share


class CNN(nn.Module):
    """Reduced VGG: two 3x3 convolutions (32, 64), each with 2x2 max pooling, and linear 256, 128.

    The CIFAR-10 network of the study of shared (k1) and further (k2) epochs, as its code had it:
    1,102,410 parameters and three linear layers, where its text says 855K and two.

    Args:
        input_shape: (channels, height, width), height and width at least 4.
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
        channels, height, width = layers.image_sizes(input_shape, smallest=4)
        layers.check_at_least("num_classes", num_classes, 1)
        layers.check_probability("dropout", dropout)
        self.features = nn.Sequential(
            nn.Conv2d(channels, 32, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 64, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.hidden = nn.Sequential(
            nn.Linear(64 * (height // 4) * (width // 4), 256),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(256, 128),
            nn.ReLU(),
            nn.Dropout(dropout),
        )
        self.output = nn.Linear(128, num_classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits, (batch, classes), of inputs, (batch, channels, height, width)."""
        features = torch.flatten(self.features(inputs), 1)  # (batch, features)
        return self.output(self.hidden(features))
