import pytest
import torch
from torch import nn

from isthmus.connectivity import repair
from isthmus.connectivity.repair import PreActivationStats, pre_activation_stats
from isthmus.models.mlp import MLP
from tests.connectivity import networks


def layers(name):
    model, inputs = networks.made(name)
    return list(pre_activation_stats(model, model.state_dict(), inputs))


def test_hidden_layers_without_normalization_are_measured_themselves():
    assert layers("mlp") == ["hidden.0", "hidden.1", "hidden.2"]
    assert layers("lenet5") == ["features.0", "features.3", "hidden.0", "hidden.2"]


def test_layers_that_are_normalized_are_measured_after_it_in_order_of_use():
    assert layers("resnet8_projection") == [
        "stem.1",
        *("stages.0.0.norm1", "stages.0.0.norm2"),
        *("stages.1.0.norm1", "stages.1.0.norm2", "stages.1.0.shortcut.1"),
        *("stages.2.0.norm1", "stages.2.0.norm2", "stages.2.0.shortcut.1"),
    ]
    assert layers("resnet8_pad_layer_norm")[:2] == ["stem.1", "stages.0.0.norm1"]


def test_alexnet_has_layers_of_both_kinds():
    convolutions = ["features.1", "features.5", "features.8", "features.10", "features.12"]
    assert layers("alexnet") == [*convolutions, "hidden.0", "hidden.3"]


@pytest.mark.parametrize("chunk_size", [1, 4, 9, 100])
def test_statistics_are_those_of_the_layer_by_hand(chunk_size):
    model = MLP((6,), 5, width=[8, 7]).double()
    state_dict, inputs = networks.weights(model, seed=3), networks.inputs(9, (6,))
    measured = pre_activation_stats(model, state_dict, inputs, chunk_size)
    model.load_state_dict(state_dict)
    first = model.hidden[0](inputs)
    for name, values in [("hidden.0", first), ("hidden.1", model.hidden[1](first.relu()))]:
        torch.testing.assert_close(measured[name].mean, values.mean(dim=0))
        torch.testing.assert_close(measured[name].std, values.std(dim=0, correction=0))


def test_positions_of_images_count_like_examples():
    model, inputs = networks.made("resnet8_pad")
    state_dict = model.state_dict()
    values = model.eval().stem[:2](inputs)
    measured = pre_activation_stats(model.train(), state_dict, inputs)["stem.1"]
    torch.testing.assert_close(measured.mean, values.mean(dim=(0, 2, 3)))
    torch.testing.assert_close(measured.std, values.std(dim=(0, 2, 3), correction=0))
    assert model.training
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, state_dict[name])


def test_means_and_deviations_lie_on_straight_lines():
    start = {"a": PreActivationStats(torch.tensor([0.0, 2.0]), torch.tensor([1.0, 3.0]))}
    end = {"a": PreActivationStats(torch.tensor([4.0, 2.0]), torch.tensor([3.0, 1.0]))}
    between = repair.lerp_stats(start, end, 0.25)["a"]
    assert between.mean.tolist() == [1.0, 2.0]
    assert between.std.tolist() == [1.5, 2.5]


def test_a_layer_used_twice_has_no_statistics():
    layer = nn.Linear(3, 3)
    model = nn.Sequential(layer, nn.ReLU(), layer, nn.ReLU(), nn.Linear(3, 2))
    with pytest.raises(ValueError, match="^model: uses the layer '0' twice, so it has no one mean"):
        pre_activation_stats(model, model.state_dict(), torch.zeros(2, 3))


@pytest.mark.parametrize(
    "layer", [nn.Linear(3, 3, bias=False), nn.BatchNorm1d(3, affine=False), nn.RMSNorm(3)]
)
def test_a_layer_that_cannot_be_shifted_is_refused(layer):
    model = nn.Sequential(layer, nn.ReLU(), nn.Linear(3, 2))
    with pytest.raises(ValueError, match="^model: '0' lacks the weight or the bias to repair it: "):
        pre_activation_stats(model, model.state_dict(), torch.zeros(2, 3))


def test_an_example_and_a_chunk_size_are_needed():
    model, inputs = networks.made("mlp")
    with pytest.raises(ValueError, match="^inputs: activations need at least one example, got no"):
        pre_activation_stats(model, model.state_dict(), inputs[:0])
    with pytest.raises(ValueError, match="^chunk_size: must be at least 1, got 0$"):
        pre_activation_stats(model, model.state_dict(), inputs, chunk_size=0)
