"""VGG for images of CIFAR's size."""

from typing import Literal

from torch import Tensor, nn

from isthmus.models import layers as models_layers

_CONVOLUTIONS = {  # convolutions in each of the five groups (Simonyan & Zisserman, 2015, table 1)
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}


class VGG(nn.Module):
    """VGG (Simonyan & Zisserman, 2015) with batch normalization and one linear layer, for CIFAR.

    Max pooling halves the image between the five groups; the last map is averaged, which at
    32 x 32 pixels is a 2x2 average pooling. The convolutions have biases.

    Args:
        input_shape: (channels, height, width), height and width at least 16.
        num_classes: number of logits.
        depth: number of layers as the paper counts them: the convolutions and three linear
            layers, of which this network keeps one.

    Raises:
        ValueError: `depth` is another number, `input_shape` has another rank or is too small, or
            `num_classes` is below 1.
    """

    def __init__(
        self, input_shape: tuple[int, ...], num_classes: int, depth: Literal[11, 13, 16, 19] = 16
    ) -> None:
        super().__init__()
        models_layers.check_one_of("depth", depth, (11, 13, 16, 19))
        channels, _, _ = models_layers.image_sizes(input_shape, smallest=16)
        models_layers.check_at_least("num_classes", num_classes, 1)
        groups: list[nn.Module] = []
        for num_convolutions, num_filters in zip(
            _CONVOLUTIONS[depth], (64, 128, 256, 512, 512), strict=True
        ):
            groups.append(_group(channels, num_filters, num_convolutions, pool=bool(groups)))
            channels = num_filters
        self.features = nn.Sequential(*groups)
        self.output = nn.Linear(channels, num_classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits, (batch, classes), of inputs, (batch, channels, height, width)."""
        return self.output(self.features(inputs).mean(dim=(-2, -1)))


def _group(channels: int, num_filters: int, num_convolutions: int, pool: bool) -> nn.Sequential:
    layers: list[nn.Module] = [nn.MaxPool2d(2)] if pool else []
    for _ in range(num_convolutions):
        layers += [
            nn.Conv2d(channels, num_filters, kernel_size=3, padding=1),
            nn.BatchNorm2d(num_filters),
            nn.ReLU(),
        ]
        channels = num_filters
    return nn.Sequential(*layers)
