import copy

import pytest
import torch
from torch import nn

from isthmus.connectivity import repair
from isthmus.connectivity.repair import (
    PreActivationStats,
    lerp_stats,
    pre_activation_stats,
    repair_network,
)
from isthmus.models.mlp import MLP
from isthmus.training import batch_norm
from tests.connectivity import networks

NAMES = [
    *("mlp", "mlp_of_images", "lenet5", "conv2"),
    *("resnet8_pad", "resnet8_projection", "resnet8_projection_layer_norm", "resnet50"),
]


def between(start, end, alpha):
    """The interpolated network, statistics of batch norm too."""
    return {
        name: tensor.lerp(end[name], alpha) if tensor.is_floating_point() else tensor
        for name, tensor in start.items()
    }


def case(name, num=12):
    """A model, two random ends, inputs, and the ends' statistics."""
    make, input_shape = networks.MODELS[name]
    model, inputs = make().double().eval(), networks.inputs(num, input_shape)
    ends = [networks.weights(model, seed) for seed in (1, 2)]
    return model, ends, inputs, [pre_activation_stats(model, end, inputs) for end in ends]


def logits(model, state_dict, inputs):
    model = copy.deepcopy(model).eval()
    model.load_state_dict(state_dict)
    with torch.no_grad():
        return model(inputs)


@pytest.mark.parametrize("chunk_size", [5000, 5])
@pytest.mark.parametrize("name", NAMES)
def test_every_channel_gets_the_interpolated_mean_and_deviation(name, chunk_size):
    model, ends, inputs, (start, end) = case(name)
    targets = lerp_stats(start, end, 0.3)
    result = repair_network(model, between(*ends, 0.3), targets, inputs, chunk_size)
    measured = pre_activation_stats(model, result, inputs)
    for layer, target in targets.items():
        torch.testing.assert_close(measured[layer].mean, target.mean, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(measured[layer].std, target.std, rtol=1e-9, atol=1e-9)


def test_biases_before_a_normalization_stay():
    model, ends, inputs, (start, end) = case("vgg11")
    middle, targets = between(*ends, 0.5), lerp_stats(start, end, 0.5)
    result = repair_network(model, middle, targets, inputs)
    measured = pre_activation_stats(model, result, inputs)
    for layer, target in targets.items():
        torch.testing.assert_close(measured[layer].std, target.std, rtol=1e-9, atol=1e-9)
    assert torch.equal(result["features.0.0.bias"], middle["features.0.0.bias"])


def test_a_hidden_layer_is_repaired_by_the_closed_form():
    """Where y = Wx + b has statistics (m, s) and should have (m', s'): s'/s (Wx + b - m) + m'."""
    model = MLP((6,), 5, width=8, depth=1).double()
    ends, inputs = [networks.weights(model, seed) for seed in (1, 2)], networks.inputs(30, (6,))

    def hidden(state_dict):
        values = inputs @ state_dict["hidden.0.weight"].T + state_dict["hidden.0.bias"]
        return values, values.mean(dim=0), values.std(dim=0, correction=0)

    middle = between(*ends, 0.5)
    (values, mean, std), (_, *start), (_, *end) = (hidden(each) for each in (middle, *ends))
    wanted = (values - mean) / std * (start[1] + end[1]) / 2 + (start[0] + end[0]) / 2
    targets = lerp_stats(*(pre_activation_stats(model, each, inputs) for each in ends), 0.5)
    result = repair_network(model, middle, targets, inputs)
    torch.testing.assert_close(hidden(result)[0], wanted)
    for name in ("output.weight", "output.bias"):
        assert torch.equal(result[name], middle[name])


@pytest.mark.parametrize("alpha", [0, 1])
@pytest.mark.parametrize("name", NAMES)
def test_an_end_computes_what_it_did(name, alpha):
    model, ends, inputs, measured = case(name)
    result = repair_network(model, between(*ends, alpha), lerp_stats(*measured, alpha), inputs)
    before = logits(model, ends[alpha], inputs)
    torch.testing.assert_close(logits(model, result, inputs), before, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["resnet8_projection", "lenet5"])
def test_the_middle_varies_less_than_the_ends_until_it_is_repaired(name):
    model, ends, inputs, (start, end) = case(name)
    middle, targets = between(*ends, 0.5), lerp_stats(start, end, 0.5)
    last = list(targets)[-1]
    result = repair_network(
        model, batch_norm.reset_statistics(model, middle, inputs), targets, inputs
    )
    collapsed = pre_activation_stats(model, middle, inputs)[last].std.mean()
    assert collapsed < 0.9 * targets[last].std.mean()
    torch.testing.assert_close(
        pre_activation_stats(model, result, inputs)[last].std, targets[last].std
    )


def test_running_statistics_are_those_of_training():
    model, ends, inputs, (start, end) = case("resnet8_pad")
    result = repair_network(model, between(*ends, 0.5), lerp_stats(start, end, 0.5), inputs)
    first = nn.functional.conv2d(inputs, result["stem.0.weight"], padding=1)
    torch.testing.assert_close(result["stem.1.running_mean"], first.mean(dim=(0, 2, 3)))
    torch.testing.assert_close(result["stem.1.running_var"], first.var(dim=(0, 2, 3)))
    assert result["stem.1.num_batches_tracked"] == 1


def test_stale_running_statistics_do_not_matter():
    model, ends, inputs, (start, end) = case("resnet8_pad")
    middle, targets = between(*ends, 0.5), lerp_stats(start, end, 0.5)
    stale = {n: t + 1 if "running" in n else t for n, t in middle.items()}
    first, second = (repair_network(model, each, targets, inputs) for each in (middle, stale))
    for name, tensor in first.items():
        torch.testing.assert_close(second[name], tensor)


def test_keys_types_and_the_arguments_stay():
    model, ends, inputs, (start, end) = case("resnet8_projection")
    middle = {n: t.float() if t.dtype == torch.float64 else t for n, t in ends[0].items()}
    model, before = model.float().train(), {n: t.clone() for n, t in middle.items()}
    own = {n: t.clone() for n, t in model.state_dict().items()}
    result = repair_network(model, middle, lerp_stats(start, end, 0.5), inputs.float())
    assert {n: t.dtype for n, t in result.items()} == {n: t.dtype for n, t in middle.items()}
    assert all(torch.equal(tensor, before[name]) for name, tensor in middle.items())
    assert all(torch.equal(tensor, own[name]) for name, tensor in model.state_dict().items())
    assert model.training


@pytest.mark.parametrize("make", [lambda: nn.Identity(), lambda: nn.BatchNorm1d(4)])
def test_a_constant_channel_is_only_shifted(make):
    model = nn.Sequential(nn.Linear(3, 4), make(), nn.ReLU(), nn.Linear(4, 2))
    state_dict = networks.weights(model, seed=0)
    state_dict["0.weight"][1] = 0  # its output is its bias, 0.3 or so, on every input
    inputs = networks.inputs(1000, (3,)).float()
    layer = "1" if "1.weight" in state_dict else "0"
    targets = {layer: PreActivationStats(mean=torch.full((4,), 5.0), std=torch.full((4,), 2.0))}
    result = repair_network(model, state_dict, targets, inputs)
    measured = pre_activation_stats(model, result, inputs)[layer]
    torch.testing.assert_close(measured.mean, torch.full((4,), 5.0), atol=1e-4, rtol=0)
    torch.testing.assert_close(measured.std, torch.tensor([2.0, 0.0, 2.0, 2.0]), atol=1e-5, rtol=0)
    assert torch.equal(result[f"{layer}.weight"][1], state_dict[f"{layer}.weight"][1].float())


def test_a_channel_that_batch_norm_scales_by_zero_is_only_shifted():
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2), nn.ReLU(), nn.Linear(2, 2))
    state_dict, inputs = networks.weights(model, seed=0), networks.inputs(9, (3,)).float()
    state_dict["1.weight"][0] = 0
    targets = {"1": PreActivationStats(mean=torch.tensor([5.0, 5.0]), std=torch.tensor([2.0, 2.0]))}
    measured = pre_activation_stats(
        model, repair_network(model, state_dict, targets, inputs), inputs
    )["1"]
    torch.testing.assert_close(measured.mean, torch.tensor([5.0, 5.0]))
    torch.testing.assert_close(measured.std, torch.tensor([0.0, 2.0]))


def test_one_value_per_channel_is_not_enough_for_batch_norm():
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))
    inputs = torch.ones(1, 3)
    targets = pre_activation_stats(model, model.state_dict(), inputs)
    with pytest.raises(
        ValueError, match="^inputs: batch norm needs two or more values per channel"
    ):
        repair_network(model, model.state_dict(), targets, inputs)


def test_an_example_and_a_chunk_size_are_needed():
    model, ends, inputs, (start, _) = case("mlp")
    with pytest.raises(ValueError, match="^inputs: activations need at least one example, got no"):
        repair_network(model, ends[0], start, inputs[:0])
    with pytest.raises(ValueError, match="^chunk_size: must be at least 1, got 0$"):
        repair_network(model, ends[0], start, inputs, chunk_size=0)


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


def test_an_example_and_a_chunk_size_are_needed_of_pre_activations():
    model, inputs = networks.made("mlp")
    with pytest.raises(ValueError, match="^inputs: activations need at least one example, got no"):
        pre_activation_stats(model, model.state_dict(), inputs[:0])
    with pytest.raises(ValueError, match="^chunk_size: must be at least 1, got 0$"):
        pre_activation_stats(model, model.state_dict(), inputs, chunk_size=0)
