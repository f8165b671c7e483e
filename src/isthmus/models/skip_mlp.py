"""Fully connected networks with skip connections between layers."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from isthmus.models import layers as models_layers
from isthmus.models.mlp import MLP
from isthmus.vocabulary import Activation, Count


class SkipMLP(MLP):
    """An MLP with paths around its hidden layers, as `extract.py` reconstructs it.

    Args:
        input_shape: (features,) or (channels, height, width).
        num_classes: number of logits.
        width: units of each hidden layer.
        reads: for each layer, also the output, the number of preceding values that it reads, the
            nearest first; the inputs are the first value. All 1 is an MLP.
        activation: what follows each hidden layer.

    Raises:
        ValueError: `reads` has another length, or exceeds the number of preceding values; or as in
            `MLP`.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        num_classes: int,
        width: list[Count],
        reads: list[int],
        activation: Activation = "relu",
    ) -> None:
        super().__init__(input_shape, num_classes, width, activation=activation)
        values = [models_layers.num_features(input_shape), *width]
        if len(reads) != len(values) or not all(1 <= n <= k + 1 for k, n in enumerate(reads)):
            raise ValueError(
                f"reads: must be {len(values)} numbers, the k-th from 1 to k, got {list(reads)}"
            )
        sizes = [sum(values[k + 1 - num : k + 1]) for k, num in enumerate(reads)]
        layers = [
            nn.Linear(size, units) for size, units in zip(sizes, [*width, num_classes], strict=True)
        ]
        self.hidden, self.output = nn.ModuleList(layers[:-1]), layers[-1]
        self.reads = list(reads)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits, (batch, classes), of inputs, (batch, *input_shape)."""
        values = [torch.flatten(inputs, 1)]  # (batch, features)
        for layer, num in zip(self.hidden, self.reads, strict=False):
            values.append(self.activation(layer(_nearest(values, num))))
        return self.output(_nearest(values, self.reads[-1]))


def _nearest(values: Sequence[Tensor], num: int) -> Tensor:
    """The last `num` values concatenated, the last one first: (batch, features)."""
    return torch.cat(list(reversed(values[-num:])), dim=1)
