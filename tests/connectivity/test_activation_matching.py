import copy

import numpy
import pytest
import torch

from isthmus.connectivity import permutation_spec
from isthmus.connectivity.matching import correlations, match_activations
from isthmus.connectivity.permutation_spec import draw_permutations, permute
from isthmus.models.mlp import MLP
from isthmus.models.resnet_cifar import ResNetCifar
from tests.connectivity import networks


def outputs(model, state_dict, layers, inputs):
    """What `layers` make of `inputs`, (units, samples) each."""
    model = copy.deepcopy(model).eval()
    model.load_state_dict(state_dict)
    made = []
    for name in layers:
        model.get_submodule(name).register_forward_hook(lambda _, args, out: made.append(out))
    with torch.no_grad():
        model(inputs)
    return [values.movedim(1, 0).flatten(1) for values in made]


def correlation(first, second):
    """By numpy, (units of the first, units of the second)."""
    together = numpy.corrcoef(first.numpy(), second.numpy())
    return torch.from_numpy(together[: len(first), len(first) :])


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("shortcut", ["pad", "projection"])
def test_a_permutation_planted_in_a_residual_network_is_found(shortcut, seed):
    model = ResNetCifar(networks.SMALL, 5, depth=8, width=8, shortcut=shortcut).double()
    state_dict = networks.weights(model, seed)
    inputs = networks.inputs(40, networks.SMALL)
    found = permutation_spec.find_groups(model, inputs)
    planted = draw_permutations(found, seed)
    start = networks.noisy(permute(state_dict, found, planted))
    for one, other in zip(
        match_activations(model, start, state_dict, found, inputs, chunk_size=15),
        planted,
        strict=True,
    ):
        assert torch.equal(one, other)


def test_a_permutation_planted_in_an_mlp_is_found():
    model = MLP((6,), 5, width=20, depth=3, activation="elu").double()
    state_dict, inputs = networks.weights(model, 0), networks.inputs(50, (6,))
    found = permutation_spec.find_groups(model, inputs)
    planted = draw_permutations(found, 0)
    start = networks.noisy(permute(state_dict, found, planted))
    for one, other in zip(
        match_activations(model, start, state_dict, found, inputs), planted, strict=True
    ):
        assert torch.equal(one, other)


@pytest.mark.parametrize("chunk_size", [1, 7, 23, 100])
def test_correlations_of_an_mlp_are_those_after_its_activation(chunk_size):
    model = MLP((6,), 5, width=[8, 7], activation="tanh").double()
    start, end = networks.weights(model, 1), networks.weights(model, 2)
    inputs = 1 + networks.inputs(23, (6,))
    found = permutation_spec.find_groups(model, inputs)
    pairs = zip(
        *(outputs(model, each, ["activation"], inputs) for each in (start, end)), strict=True
    )
    measured = correlations(model, start, end, found, inputs, chunk_size)
    for matrix, (first, second) in zip(measured, pairs, strict=True):
        torch.testing.assert_close(matrix, correlation(first, second), rtol=1e-9, atol=1e-9)


def test_samples_of_a_channel_are_the_positions_of_all_images():
    model, inputs = networks.made("lenet5")
    start, end = networks.weights(model, 1), networks.weights(model, 2)
    found = permutation_spec.find_groups(model, inputs)
    pooled = [outputs(model, each, ["features.2", "features.5"], inputs) for each in (start, end)]
    measured = correlations(model, start, end, found, inputs, chunk_size=3)
    for matrix, first, second in zip(measured[:2], *pooled, strict=True):
        alive = (first.std(dim=1) > 0)[:, None] & (second.std(dim=1) > 0)
        assert alive.any()
        with numpy.errstate(invalid="ignore"):
            expected = correlation(first, second)
        torch.testing.assert_close(matrix[alive], expected[alive], rtol=1e-9, atol=1e-9)
        assert torch.equal(matrix[~alive], torch.zeros_like(matrix[~alive]))


def test_a_residual_stream_is_compared_after_each_sum():
    model, inputs = networks.made("resnet8_projection")
    start, end = networks.weights(model, 1), networks.weights(model, 2)
    found = permutation_spec.find_groups(model, inputs)
    layers = ["stem", "stages.0.0"]  # the layers of stages.0 and stages.1 read these
    first, second = (outputs(model, each, layers, inputs) for each in (start, end))
    expected = torch.stack([correlation(*pair) for pair in zip(first, second, strict=True)])
    measured = correlations(model, start, end, found, inputs)[0]
    torch.testing.assert_close(measured, expected.mean(dim=0), rtol=1e-9, atol=1e-9)


def test_each_unit_of_one_network_has_its_partner_in_the_other():
    model, inputs = networks.made("mlp")
    found = permutation_spec.find_groups(model, inputs)
    permutations = match_activations(
        model, networks.weights(model, 1), model.state_dict(), found, inputs
    )
    for permutation, group in zip(permutations, found, strict=True):
        assert sorted(permutation.tolist()) == list(range(group.size))


def test_moments_of_half_precision_are_those_of_the_same_numbers_in_float32():
    model = MLP((6,), 5, width=8, depth=1, activation="tanh").bfloat16()
    inputs = 3 + networks.inputs(200, (6,)).bfloat16()
    found = permutation_spec.find_groups(model, inputs)
    ends = [networks.weights(model, seed) for seed in (1, 2)]
    [first], [second] = (outputs(model, each, ["activation"], inputs) for each in ends)
    [measured] = correlations(model, *ends, found, inputs, chunk_size=50)
    expected = correlation(first.double(), second.double())
    torch.testing.assert_close(measured, expected, rtol=1e-4, atol=1e-4)


def test_the_model_and_its_mode_are_left_as_they_were():
    model, inputs = networks.made("resnet8_pad")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    weights = networks.weights(model, 1)
    match_activations(
        model.train(), weights, weights, permutation_spec.find_groups(model, inputs), inputs
    )
    assert model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_activations_that_are_not_finite_are_refused():
    model, inputs = networks.made("mlp")
    found = permutation_spec.find_groups(model, inputs)
    with pytest.raises(ValueError, match="^inputs: the activations of hidden.0.weight are not fin"):
        match_activations(model, model.state_dict(), model.state_dict(), found, inputs * torch.inf)
