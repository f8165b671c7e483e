import pytest
import torch
from torch import nn

from isthmus.models.lottery_conv import LotteryConv


@pytest.mark.parametrize(
    ("depth", "num_parameters", "num_in_convolutions"),
    [
        # Frankle & Carbin (2019), figure 2: 4.3M / 38K, 2.4M / 260K, 1.7M / 1.1M. The 1.7M do not
        # follow from the layers there: 256 channels at 4 x 4 pixels and 256 units alone have 1.0M.
        (2, 4_301_642, 38_720),
        (4, 2_425_930, 260_160),
        (6, 2_262_602, 1_145_408),
    ],
)
def test_there_are_as_many_parameters_as_in_the_paper(depth, num_parameters, num_in_convolutions):
    with torch.device("meta"):
        model = LotteryConv((3, 32, 32), 10, depth)
    assert sum(parameter.numel() for parameter in model.parameters()) == num_parameters
    assert sum(p.numel() for p in model.features.parameters()) == num_in_convolutions


@pytest.mark.parametrize("depth", [2, 4, 6])
def test_the_smallest_image_is_one_pixel_after_the_pooling(depth):
    smallest = 2 ** (depth // 2)
    model = LotteryConv((1, smallest, smallest), 3, depth)
    assert model(torch.zeros(1, 1, smallest, smallest)).shape == (1, 3)
    message = f"^input_shape: must be .* of at least {smallest}, got"
    with pytest.raises(ValueError, match=message):
        LotteryConv((1, smallest, smallest - 1), 3, depth)


def test_the_depth_is_the_number_of_convolutions():
    for depth in (2, 4, 6):
        model = LotteryConv((1, 9, 17), 3, depth)
        assert sum(isinstance(layer, nn.Conv2d) for layer in model.modules()) == depth
        assert model(torch.zeros(2, 1, 9, 17)).shape == (2, 3)


def test_another_depth_is_refused():
    with pytest.raises(ValueError, match="^depth: must be one of 2, 4, 6, got 8$"):
        LotteryConv((3, 32, 32), 10, depth=8)
