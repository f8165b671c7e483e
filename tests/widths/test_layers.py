import pytest
from torch import nn

from isthmus.models.resnet_cifar import ResNetCifar
from isthmus.widths import layers
from tests.widths.networks import Chain, mlp


def test_layers_of_an_mlp():
    found = layers.scaled_layers(mlp(8, 3, "input"))
    assert [layer.name for layer in found] == ["hidden.0", "hidden.1", "hidden.2", "output"]
    assert [layer.kind for layer in found] == ["input", "hidden", "hidden", "output"]
    assert [layer.place for layer in found] == [1, 2, 3, 4]
    assert [layer.width for layer in found] == [8, 8, 8, 8]
    assert [layer.fan_in for layer in found] == [5, 8, 8, 8]
    assert [layer.fan_out for layer in found] == [8, 8, 8, 3]
    assert [layer.has_bias for layer in found] == [True, False, False, False]


def test_unequal_widths_are_units_of_the_input_layer_and_inputs_of_all_others():
    assert [layer.width for layer in layers.scaled_layers(mlp([6, 4], None))] == [6, 6, 4]


def test_the_width_of_a_convolution_is_channels_times_the_area_of_its_kernel():
    found = layers.scaled_layers(Chain(4))
    assert [layer.width for layer in found] == [4, 4 * 9, 8 * 16]


def test_convolutions_of_shortcuts_are_hidden_layers():
    found = layers.scaled_layers(
        ResNetCifar((3, 8, 8), 10, depth=8, width=4, shortcut="projection")
    )
    kinds = {layer.name: layer.kind for layer in found}
    shortcuts = [layer for layer in found if "shortcut" in layer.name]
    assert {layer.kind for layer in shortcuts} == {"hidden"}
    assert [layer.width for layer in shortcuts] == [4, 8]
    assert list(kinds.values()).count("input") == list(kinds.values()).count("output") == 1
    assert found[-1].name == "output"


def test_a_network_without_a_linear_layer_is_refused():
    with pytest.raises(ValueError, match="Conv2d has no linear layer"):
        layers.scaled_layers(nn.Conv2d(1, 1, 1))
