import torch
from torch import nn

from isthmus.models import layers

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
