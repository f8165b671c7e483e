import pytest
import torch
from torch import nn

from isthmus.models.vgg import VGG


@pytest.mark.parametrize(
    ("depth", "num_parameters"),
    [
        # VGG-16 as counted in the spawning study's code; the others follow from table 1 of
        # Simonyan & Zisserman (2015): 9 c_in c_out + 3 c_out a convolution, 5,130 at the end.
        (11, 9_231_114),
        (13, 9_416_010),
        (16, 14_728_266),
        (19, 20_040_522),
    ],
)
def test_there_are_as_many_parameters_as_counted_elsewhere(depth, num_parameters):
    with torch.device("meta"):
        model = VGG((3, 32, 32), 10, depth)
    assert sum(parameter.numel() for parameter in model.parameters()) == num_parameters
    convolutions = sum(isinstance(layer, nn.Conv2d) for layer in model.modules())
    assert convolutions + 3 == depth  # the paper counts three linear layers


def test_the_last_average_is_a_2x2_pooling_at_32_pixels():
    model = VGG((3, 32, 32), 10, depth=11).eval()
    images = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    features = model.features(images)  # (1, 512, 2, 2)
    pooled = nn.functional.avg_pool2d(features, 2).flatten(1)
    torch.testing.assert_close(model(images), model.output(pooled))


@pytest.mark.parametrize("input_shape", [(3, 32, 32), (1, 28, 28), (2, 16, 16), (3, 64, 33)])
def test_other_images_pass(input_shape):
    with torch.device("meta"):
        model = VGG(input_shape, 7, depth=11).eval()
        assert model(torch.zeros(1, *input_shape)).shape == (1, 7)


def test_an_option_that_is_not_allowed_is_refused():
    with pytest.raises(ValueError, match="^depth: must be one of 11, 13, 16, 19, got 12$"):
        VGG((3, 32, 32), 10, depth=12)
    message = r"^input_shape: must be .* of at least 16, got \(3, 15, 32\)$"
    with pytest.raises(ValueError, match=message):
        VGG((3, 15, 32), 10)
