"""Fully connected networks."""

from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from isthmus.models import layers
from isthmus.vocabulary import Activation, Count, CountFromZero


class MLP(nn.Module):
    """Multilayer perceptron on inputs flattened to a vector.

    LeNet-300-100 (LeCun et al., 1998) is `width=[300, 100]`; no hidden layer is softmax regression.

    Args:
        input_shape: (features,) or (channels, height, width).
        num_classes: number of logits.
        width: units of every hidden layer, or a list of those of each.
        depth: number of hidden layers; None for the length of `width`, or 2 if that is one number.
        activation: what follows each hidden layer.
        bias: whether all layers, also the output, add a bias; or "input", only the first one.

    Raises:
        ValueError: a width is below 1, `depth` is below 0 or contradicts `width`, or
            `input_shape`, `num_classes`, `activation` or `bias` is not allowed.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        num_classes: int,
        width: Count | list[Count] = 64,
        depth: CountFromZero | None = None,
        activation: Activation = "relu",
        bias: bool | Literal["input"] = True,
    ) -> None:
        super().__init__()
        layers.check_at_least("num_classes", num_classes, 1)
        layers.check_one_of("bias", bias, (True, False, "input"))
        sizes = [layers.num_features(input_shape), *_hidden_widths(width, depth)]
        self.hidden = nn.ModuleList(
            nn.Linear(num_inputs, num_outputs, bias is True or (bias == "input" and place == 0))
            for place, (num_inputs, num_outputs) in enumerate(pairwise(sizes))
        )
        self.activation = layers.build_activation(activation)
        self.output = nn.Linear(sizes[-1], num_classes, bias is True)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits, (batch, classes), of inputs, (batch, *input_shape)."""
        units = torch.flatten(inputs, 1)  # (batch, features)
        for layer in self.hidden:
            units = self.activation(layer(units))
        return self.output(units)


def _hidden_widths(width: int | list[int], depth: int | None) -> list[int]:
    if isinstance(width, int):
        depth = 2 if depth is None else depth
        layers.check_at_least("depth", depth, 0)
        widths = [width] * depth
    else:
        widths = list(width)
        if depth not in (None, len(widths)):
            raise ValueError(
                f"depth: must be null or {len(widths)}, the length of width={widths}, got {depth}"
            )
    for each in widths:
        layers.check_at_least("width", each, 1)
    return widths
