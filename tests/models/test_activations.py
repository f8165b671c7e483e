import math
from typing import get_args

import pytest
import torch

from isthmus.models import layers

POINTS = torch.linspace(-3, 3, 13)
FORMULAS = {
    "relu": lambda x: max(x, 0.0),
    "leaky_relu": lambda x: x if x > 0 else 0.01 * x,
    "elu": lambda x: x if x > 0 else math.expm1(x),
    "gelu": lambda x: x * (1 + math.erf(x / math.sqrt(2))) / 2,
    "silu": lambda x: x / (1 + math.exp(-x)),
    "softplus": lambda x: math.log1p(math.exp(x)),
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "tanh": math.tanh,
    "identity": lambda x: x,
    "g": lambda x: 1 / (1 + math.exp(-4 * x)) + math.log1p(math.exp(x)),
}


@pytest.mark.parametrize("activation", get_args(layers.Activation))
def test_an_activation_is_its_formula_and_leaves_the_input_alone(activation):
    inputs = POINTS.clone()
    expected = torch.tensor([FORMULAS[activation](x) for x in POINTS.tolist()])
    torch.testing.assert_close(layers.build_activation(activation)(inputs), expected)
    assert inputs.equal(POINTS)


def test_another_activation_is_refused():
    with pytest.raises(ValueError, match="^activation: must be one of relu, .*, got 'swish'$"):
        layers.build_activation("swish")
