import re

import pytest
import torch
from torch import nn

from isthmus.models.resnet_cifar import ResNetCifar


def num_parameters(depth: int, **options: object) -> int:
    with torch.device("meta"):
        model = ResNetCifar((3, 32, 32), 10, depth, **options)
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("depth", "expected", "millions"),
    [
        # He et al. (2016), table 6, gives the millions; the projections of three papers on
        # spawning and pruning give ResNet-20 the 272,474 below.
        (20, 269_722, 0.27),
        (32, 464_154, 0.46),
        (44, 658_586, 0.66),
        (56, 853_018, 0.85),
        (110, 1_727_962, 1.7),
    ],
)
def test_there_are_as_many_parameters_as_in_the_paper(depth, expected, millions):
    assert num_parameters(depth) == expected
    assert expected / 1e6 == pytest.approx(millions, rel=0.02)


@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_projections_add_two_convolutions_with_their_norms(norm):
    assert num_parameters(20, shortcut="projection", norm=norm) == 272_474
    added = (16 * 32 + 2 * 32) + (32 * 64 + 2 * 64)
    assert num_parameters(20, shortcut="pad", norm=norm) == 272_474 - added


def test_the_depth_counts_the_convolutions_and_the_output():
    for depth in (8, 20, 56):
        with torch.device("meta"):
            model = ResNetCifar((3, 32, 32), 10, depth)
        convolutions = sum(isinstance(layer, nn.Conv2d) for layer in model.modules())
        assert convolutions + 1 == depth


def test_the_stages_have_width_twice_and_four_times_it():
    model = ResNetCifar((3, 32, 32), 10, width=4)
    shapes = []
    images = model.stem(torch.zeros(1, 3, 32, 32))
    for stage in model.stages:
        images = stage(images)
        shapes.append(tuple(images.shape[1:]))
    assert shapes == [(4, 32, 32), (8, 16, 16), (16, 8, 8)]


@pytest.mark.parametrize("shortcut", ["pad", "projection"])
@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_images_of_any_size_pass(shortcut, norm):
    for input_shape, num_classes in (((3, 32, 32), 10), ((1, 28, 28), 100), ((2, 5, 1), 1)):
        model = ResNetCifar(input_shape, num_classes, 8, 2, shortcut, norm).eval()
        assert model(torch.zeros(1, *input_shape)).shape == (1, num_classes)


@pytest.mark.parametrize("depth", [2, 18, 21, -4])
def test_a_depth_that_is_not_6n_plus_2_is_refused(depth):
    message = f"depth: must be 6n+2 (20, 32, 44, 56, 110), got {depth}"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        ResNetCifar((3, 32, 32), 10, depth)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 0}, "width: must be at least 1, got 0"),
        ({"shortcut": "conv"}, "shortcut: must be one of pad, projection, got 'conv'"),
        ({"norm": "group"}, "norm: must be one of batch, layer, got 'group'"),
    ],
)
def test_an_option_that_is_not_allowed_is_refused(options, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        ResNetCifar((3, 32, 32), 10, **options)
