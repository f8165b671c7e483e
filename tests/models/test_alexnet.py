import pytest
import torch

from isthmus.models.alexnet import AlexNet


@pytest.mark.parametrize(
    ("num_classes", "num_parameters", "millions"),
    [
        # The millions as counted in the code of the study of shared and further epochs.
        (1000, 61_101_352, 61.1),  # torchvision publishes 61,100,840 without batch normalization
        (200, 57_823_752, 57.8),
    ],
)
def test_there_are_as_many_parameters_as_in_the_study(num_classes, num_parameters, millions):
    with torch.device("meta"):
        model = AlexNet((3, 224, 224), num_classes)
        images = torch.zeros(2, 3, 224, 224)
    assert sum(parameter.numel() for parameter in model.parameters()) == num_parameters
    assert round(num_parameters / 1e6, 1) == millions
    assert model.features(images).shape == (2, 256, 6, 6)
    assert model(images).shape == (2, num_classes)


@pytest.mark.parametrize("input_shape", [(1, 63, 63), (3, 64, 64), (3, 63, 127), (3, 225, 226)])
def test_other_images_pass(input_shape):
    with torch.device("meta"):
        model = AlexNet(input_shape, 7).eval()
        assert model(torch.zeros(1, *input_shape)).shape == (1, 7)


@pytest.mark.parametrize(
    ("input_shape", "dropout", "message"),
    [
        ((3, 63, 62), 0.5, r"input_shape: must be .* of at least 63, got \(3, 63, 62\)"),
        ((3, 64, 64), -0.5, r"dropout: must be in \[0, 1\), got -0.5"),
    ],
)
def test_an_option_that_is_not_allowed_is_refused(input_shape, dropout, message):
    with torch.device("meta"), pytest.raises(ValueError, match=f"^{message}$"):
        AlexNet(input_shape, 10, dropout)
