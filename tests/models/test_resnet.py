import pytest
import torch

from isthmus.models.resnet import ResNet

# Published with torchvision's weights (docs.pytorch.org/vision, "num_params").
NUM_PARAMETERS = {
    18: 11_689_512,
    34: 21_797_672,
    50: 25_557_032,
    101: 44_549_160,
    152: 60_192_808,
}


@pytest.mark.parametrize("depth", NUM_PARAMETERS)
def test_there_are_as_many_parameters_as_published(depth):
    with torch.device("meta"):
        model = ResNet((3, 224, 224), 1000, depth)
        images = torch.zeros(1, 3, 224, 224)
    assert sum(parameter.numel() for parameter in model.parameters()) == NUM_PARAMETERS[depth]
    channels = 512 if depth < 50 else 2048
    assert model.stages(model.stem(images)).shape == (1, channels, 7, 7)
    assert model.eval()(images).shape == (1, 1000)


def test_the_stem_for_cifar_keeps_the_size_of_the_image():
    with torch.device("meta"):
        model = ResNet((3, 32, 32), 10, stem="cifar")
        images = torch.zeros(2, 3, 32, 32)
    assert model.stem(images).shape == (2, 64, 32, 32)
    assert model.stages(model.stem(images)).shape == (2, 512, 4, 4)
    num_parameters = sum(parameter.numel() for parameter in model.parameters())
    # The 3x3 stem has 64 * 3 * (49 - 9) weights less, the output 990 classes.
    assert num_parameters == NUM_PARAMETERS[18] - 64 * 3 * (49 - 9) - 990 * 513


@pytest.mark.parametrize("depth", NUM_PARAMETERS)
def test_a_width_of_2_and_small_images_pass(depth):
    for input_shape, stem in (((1, 1, 1), "imagenet"), ((3, 9, 5), "cifar")):
        model = ResNet(input_shape, 7, depth, stem, width=2).eval()
        assert model(torch.zeros(1, *input_shape)).shape == (1, 7)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": 20}, "depth: must be one of 18, 34, 50, 101, 152, got 20"),
        ({"stem": "mnist"}, "stem: must be one of imagenet, cifar, got 'mnist'"),
        ({"width": 0}, "width: must be at least 1, got 0"),
    ],
)
def test_an_option_that_is_not_allowed_is_refused(options, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        ResNet((3, 32, 32), 10, **options)
