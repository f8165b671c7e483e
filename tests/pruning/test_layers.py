import pytest
from torch import nn

from isthmus.models.cnn import CNN
from isthmus.models.lenet import LeNet5
from isthmus.models.lottery_conv import LotteryConv
from isthmus.models.mlp import MLP
from isthmus.models.resnet import ResNet
from isthmus.models.resnet_cifar import ResNetCifar
from isthmus.models.vgg import VGG
from isthmus.training import masks

IMAGE = (3, 32, 32)


def test_weights_of_layers_and_no_others_can_be_pruned():
    found = masks.prunable_layers(ResNetCifar(IMAGE, 10, depth=8, shortcut="projection"))
    assert list(found.sizes)[:3] == [
        "stem.0.weight",
        "stages.0.0.conv1.weight",
        "stages.0.0.conv2.weight",
    ]
    assert len(found.sizes) == 1 + 6 + 2 + 1  # stem, blocks, shortcuts, output
    assert found.sizes["stem.0.weight"] == 16 * 3 * 9
    assert found.output == "output.weight" and found.residual


def test_resnet20_has_the_weights_of_the_paper():
    sizes = masks.prunable_layers(ResNetCifar(IMAGE, 10)).sizes
    assert sum(sizes.values()) == 268_336


@pytest.mark.parametrize(
    ("model", "ignored"),
    [
        (MLP((4,), 3), ["output.weight"]),
        (LeNet5((1, 28, 28), 10), ["output.weight"]),
        (VGG(IMAGE, 10, depth=11), ["output.weight"]),
        (LotteryConv(IMAGE, 10), ["output.weight"]),
        (CNN(IMAGE, 10), ["output.weight"]),
        (ResNetCifar(IMAGE, 10), []),
        (ResNet(IMAGE, 10, stem="cifar", width=4), []),
        (nn.Sequential(nn.Conv2d(1, 2, 3), nn.Conv2d(2, 2, 3)), []),
        (nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2)), ["1.weight"]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_output_layer_is_ignored_by_default_but_not_in_resnets(model, ignored):
    assert masks.prunable_layers(model).ignored_layers(None) == ignored


def test_a_shared_weight_counts_once():
    first = nn.Linear(3, 3)
    second = nn.Linear(3, 3)
    second.weight = first.weight
    assert masks.prunable_layers(nn.Sequential(first, second)).sizes == {"0.weight": 9}


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        ([], []),
        (["output"], ["output.weight"]),
        (["output.weight"], ["output.weight"]),
        (["hidden.*"], ["hidden.0.weight", "hidden.1.weight"]),
        (["hidden.1", "output"], ["hidden.1.weight", "output.weight"]),
    ],
)
def test_names_and_patterns_of_layers_or_parameters_are_ignored(patterns, expected):
    assert masks.prunable_layers(MLP((4,), 3)).ignored_layers(patterns) == expected


def test_a_pattern_that_matches_nothing_is_named():
    message = "^ignore: 'fc' matches no layer; there are hidden.0.weight, hidden.1.weight, output.w"
    with pytest.raises(ValueError, match=message):
        masks.prunable_layers(MLP((4,), 3)).ignored_layers(["output", "fc"])


@pytest.mark.parametrize(
    ("model", "patterns", "message"),
    [
        (MLP((4,), 3), ["*"], "hidden.0.weight, hidden.1.weight, output.weight leaves nothing"),
        (MLP((4,), 3, width=[]), None, "output.weight leaves nothing to prune"),
        (nn.BatchNorm1d(3), None, "this network leaves nothing to prune; there are no layers"),
    ],
)
def test_nothing_left_to_prune_is_refused(model, patterns, message):
    with pytest.raises(ValueError, match=f"^ignore: {message}"):
        masks.prunable_layers(model).ignored_layers(patterns)
