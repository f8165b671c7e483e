import re

import pytest
import torch
from torch import nn
from torch.nn import functional

from isthmus.connectivity import permutation_spec


class Toy(nn.Module):
    """A convolution, and then what a test does to it."""

    def __init__(self, forward):
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3)
        self.scale = nn.Parameter(torch.ones(1, 4, 4, 4))
        self.after = forward

    def forward(self, inputs):
        return self.after(self, self.conv(inputs))


class Block(nn.Module):
    def forward(self, inputs):
        return functional.softmax(inputs, dim=1)


IMAGES = torch.zeros(1, 2, 6, 6)


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (nn.Conv2d(4, 4, 3, groups=2), "(1, 4, 4, 4)"),
        (nn.Linear(4, 2), "(1, 4, 4, 4)"),
        (nn.PixelShuffle(2), "(1, 4, 4, 4)"),
        (nn.Unfold(2), "(1, 4, 4, 4)"),
    ],
)
def test_an_unknown_module_is_named(module, shape):
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.Sequential(module))
    message = (
        "model: cannot permute units through its module '1.0': "
        f"unsupported: {module} on values of shape {shape}"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        permutation_spec.find_groups(model, IMAGES)


def test_a_module_that_makes_several_tensors_is_named():
    model = nn.Sequential(nn.Linear(3, 4), nn.LSTM(4, 5))
    with pytest.raises(ValueError, match="through its module '1': unsupported: LSTM"):
        permutation_spec.find_groups(model, torch.zeros(1, 3))


def test_an_unknown_function_is_named_with_its_module():
    message = (
        r"^model: cannot permute units through 'softmax' in its module '1' \(Block\): unsupported"
    )
    with pytest.raises(ValueError, match=message):
        permutation_spec.find_groups(nn.Sequential(nn.Conv2d(2, 4, 3), Block()), IMAGES)


@pytest.mark.parametrize(
    ("forward", "message"),
    [
        (lambda self, x: torch.cat([x, x], 1), "'cat' in its own forward: unsupported operation"),
        (lambda self, x: x.movedim(1, -1), "'movedim' in its own forward: unsupported"),
        (lambda self, x: x + self.scale, "it reads 'scale', which has no units"),
        (lambda self, x: x + x.mean((2, 3)), "it adds values of shapes [(1, 4, 4, 4), (1, 4)]"),
        (lambda self, x: x.mean(1), "'mean' in its own forward: it averages over [1]"),
        (lambda self, x: x.mean((0, -1)), "it averages over (0, -1)"),
        (lambda self, x: x.mean(), "it averages over None"),
        (lambda self, x: x[:, :2], "'getitem' in its own forward: its index is (slice"),
        (lambda self, x: x[0], "its index is 0"),
        (lambda self, x: x.flatten(), "it makes (64,) of (1, 4, 4, 4)"),
        (lambda self, x: x.view(-1, 4), "it makes (16, 4) of (1, 4, 4, 4)"),
        (
            lambda self, x: functional.layer_norm(x, [4]),
            "'layer_norm' in its own forward: unsupported",
        ),
        (lambda self, x: (x, x), "model: must return one tensor, returns (conv, conv)"),
    ],
)
def test_what_is_not_known_to_keep_units_apart_is_refused(forward, message):
    with pytest.raises(ValueError, match=f"^model: .*{re.escape(message.removeprefix('model: '))}"):
        permutation_spec.find_groups(Toy(forward), IMAGES)


def test_a_normalization_of_other_axes_is_refused():
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.LayerNorm(4))
    with pytest.raises(ValueError, match=r"its module '1': it normalizes over \(4,\)$"):
        permutation_spec.find_groups(model, IMAGES)


def test_inputs_without_features_are_refused():
    with pytest.raises(ValueError, match=r"through 'input' in its own forward: it makes \(1,\)$"):
        permutation_spec.find_groups(nn.ReLU(), torch.zeros(3))
