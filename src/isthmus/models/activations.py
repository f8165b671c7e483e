"""Activation functions by name."""

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from isthmus.models import arguments

Activation = Literal[
    "relu", "leaky_relu", "elu", "gelu", "silu", "softplus", "sigmoid", "tanh", "identity", "g"
]


class SigmoidPlusSoftplus(nn.Module):
    """sigmoid(4 x) + softplus(x), without any symmetry (g of Martinelli et al., 2024)."""

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.sigmoid(4 * inputs) + F.softplus(inputs)


_MODULES: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,  # slope .01 below 0
    "elu": nn.ELU,  # alpha 1
    "gelu": nn.GELU,  # by the error function, not by tanh
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "identity": nn.Identity,
    "g": SigmoidPlusSoftplus,
}


def build(activation: Activation) -> nn.Module:
    """A module that applies `activation` to each number and leaves its input as it was.

    Raises:
        ValueError: `activation` is not one of `Activation`.
    """
    arguments.one_of("activation", activation, get_args(Activation))
    return _MODULES[activation]()
