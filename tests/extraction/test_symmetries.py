from typing import get_args

import pytest
import torch

from isthmus.extraction.stacks import SYMMETRIES
from isthmus.models import layers

POINTS = torch.linspace(-4, 4, 81, dtype=torch.float64)


@pytest.mark.parametrize("name", get_args(layers.Activation))
def test_each_activation_has_the_symmetry_that_it_is_said_to_have(name):
    symmetry, s = SYMMETRIES[name], layers.build_activation(name)
    if symmetry.sign == "odd":
        torch.testing.assert_close(s(POINTS), symmetry.constant - s(-POINTS))
    elif symmetry.sign == "even_linear":
        torch.testing.assert_close(s(POINTS) - s(-POINTS), symmetry.slope * POINTS)
    if symmetry.scales:
        torch.testing.assert_close(s(3 * POINTS), 3 * s(POINTS))


@pytest.mark.parametrize("name", [name for name, each in SYMMETRIES.items() if each.sign is None])
def test_an_activation_without_symmetry_has_none_of_them(name):
    s = layers.build_activation(name)
    even, odd = s(POINTS) + s(-POINTS), s(POINTS) - s(-POINTS)
    assert even.std() > 0.1  # not odd around a constant
    assert (odd / POINTS)[POINTS != 0].std() > 0.1  # not a line
