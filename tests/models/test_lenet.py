import pytest
import torch

from isthmus.models.lenet import LeNet5


@pytest.mark.parametrize(
    ("input_shape", "num_features", "num_parameters"),
    [
        ((1, 28, 28), 400, 61_706),  # LeCun et al. (1998), all of C3's maps connected
        ((1, 32, 32), 400, 61_706),  # the paper's size, without a border
        ((3, 32, 32), 400, 62_006),  # 2 x 6 x 25 weights more
        ((1, 12, 12), 16, 15_626),
        ((1, 12, 28), 80, 23_306),
    ],
)
def test_parameters_follow_the_image(input_shape, num_features, num_parameters):
    model = LeNet5(input_shape, 10)
    assert model.hidden[0].in_features == num_features
    assert sum(parameter.numel() for parameter in model.parameters()) == num_parameters
    assert model(torch.zeros(2, *input_shape)).shape == (2, 10)


def test_an_image_of_8_pixels_is_refused():
    message = "^input_shape: must be .* with height and width of at least 12, got \\(1, 8, 8\\)$"
    with pytest.raises(ValueError, match=message):
        LeNet5((1, 8, 8), 10)
