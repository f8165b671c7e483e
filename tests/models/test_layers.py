import math
import re
from typing import get_args

import pytest
import torch
from torch import nn

from isthmus.models import layers
from isthmus.models.layers import BasicBlock, Bottleneck, PadShortcut

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


def test_a_value_that_is_allowed_passes():
    layers.check_one_of("stem", "cifar", ("imagenet", "cifar"))
    layers.check_at_least("width", 1, 1)
    layers.check_probability("dropout", 0)
    assert layers.num_features((3, 4, 5)) == 60
    assert layers.image_sizes([3, 8, 9], smallest=8) == (3, 8, 9)


def test_a_value_outside_the_choice_is_refused():
    message = "stem: must be one of imagenet, cifar, got 'mnist'"
    with pytest.raises(ValueError, match=f"^{message}$"):
        layers.check_one_of("stem", "mnist", ("imagenet", "cifar"))


def test_a_number_that_is_too_small_is_refused():
    with pytest.raises(ValueError, match="^width: must be at least 1, got 0$"):
        layers.check_at_least("width", 0, 1)


@pytest.mark.parametrize("value", [-0.1, 1, float("nan")])
def test_no_probability_is_refused(value):
    message = f"dropout: must be in [0, 1), got {value}"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        layers.check_probability("dropout", value)


@pytest.mark.parametrize("input_shape", [(), (0,), (3, 0, 2)])
def test_inputs_without_a_number_are_refused(input_shape):
    message = f"input_shape: must be sizes of at least 1, got {input_shape}"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        layers.num_features(input_shape)


@pytest.mark.parametrize("input_shape", [(784,), (28, 28), (1, 3, 28, 28)])
def test_an_image_of_another_rank_is_refused(input_shape):
    message = f"input_shape: must be (channels, height, width), got {input_shape}"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        layers.image_sizes(input_shape)


@pytest.mark.parametrize("input_shape", [(0, 12, 12), (1, 12, 11), (1, 11, 12)])
def test_an_image_that_is_too_small_is_refused(input_shape):
    message = (
        "input_shape: must be (channels, height, width) with height and width of at least 12, "
        f"got {input_shape}"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        layers.image_sizes(input_shape, smallest=12)


IMAGES = torch.randn(4, 6, 3, 5, generator=torch.Generator().manual_seed(0))


def test_channel_norm_gives_each_position_mean_0_and_variance_1_over_the_channels():
    outputs = layers.ChannelNorm(6)(IMAGES)
    zeros, ones = torch.zeros(4, 3, 5), torch.ones(4, 3, 5)
    torch.testing.assert_close(outputs.mean(dim=1), zeros, atol=1e-6, rtol=0)
    torch.testing.assert_close(outputs.var(dim=1, correction=0), ones, atol=1e-3, rtol=0)


def test_channel_norm_equals_group_norm_on_single_pixels():
    norm, oracle = layers.ChannelNorm(6), nn.GroupNorm(1, 6)
    with torch.no_grad():
        norm.weight.copy_(torch.arange(6.0))
        norm.bias.copy_(torch.arange(6.0) - 2)
    oracle.load_state_dict(norm.state_dict())
    pixels = IMAGES.movedim(1, -1).reshape(-1, 6)
    expected = oracle(pixels).reshape(4, 3, 5, 6).movedim(-1, 1)
    torch.testing.assert_close(norm(IMAGES), expected)


def test_channel_norm_treats_each_image_on_its_own():
    norm = layers.ChannelNorm(6)
    torch.testing.assert_close(norm(IMAGES)[:1], norm(IMAGES[:1]))


def test_build_gives_the_norm_asked_for():
    assert type(layers.build_norm("batch", 6)) is nn.BatchNorm2d
    assert type(layers.build_norm("layer", 6)) is layers.ChannelNorm


RESIDUAL_IMAGES = torch.randn(2, 3, 5, 7, generator=torch.Generator().manual_seed(0))


def test_pad_shortcut_keeps_every_second_pixel_and_appends_zeros():
    outputs = PadShortcut(num_zeros=2, stride=2)(RESIDUAL_IMAGES)
    assert outputs.shape == (2, 5, 3, 4)
    for row in range(3):
        for column in range(4):
            assert outputs[:, :3, row, column].equal(RESIDUAL_IMAGES[:, :, 2 * row, 2 * column])
    assert outputs[:, 3:].eq(0).all()


@pytest.mark.parametrize("shortcut", ["pad", "projection"])
@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_a_basic_block_halves_odd_images_as_its_shortcut_does(shortcut, norm):
    block = BasicBlock(3, 6, stride=2, shortcut=shortcut, norm=norm)
    assert block(RESIDUAL_IMAGES).shape == (2, 6, 3, 4)
    assert RESIDUAL_IMAGES.equal(
        torch.randn(2, 3, 5, 7, generator=torch.Generator().manual_seed(0))
    )


def test_a_block_whose_last_weights_are_0_is_its_shortcut():
    basic, bottleneck = BasicBlock(3, 3, stride=1), Bottleneck(4, 1, stride=1)
    torch.nn.init.zeros_(basic.norm2.weight)
    torch.nn.init.zeros_(bottleneck.norm3.weight)
    assert basic(RESIDUAL_IMAGES).equal(RESIDUAL_IMAGES.relu())
    wide = torch.cat([RESIDUAL_IMAGES, RESIDUAL_IMAGES[:, :1]], dim=1)
    assert bottleneck(wide).equal(wide.relu())


def test_a_bottleneck_has_its_stride_at_the_3x3_convolution():
    block = Bottleneck(3, 2, stride=2)
    assert block(RESIDUAL_IMAGES).shape == (2, 8, 3, 4)
    strides = [conv.stride[0] for conv in (block.conv1, block.conv2, block.conv3)]
    assert strides == [1, 2, 1]


def test_a_shortcut_between_equal_shapes_has_no_parameters():
    for shortcut in ("pad", "projection"):
        block = BasicBlock(3, 3, stride=1, shortcut=shortcut)
        assert not list(block.shortcut.parameters())
