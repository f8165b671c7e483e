import copy
import itertools
import math

import numpy
import pytest
import torch
from torch import nn

from isthmus.connectivity import permutation_spec
from isthmus.connectivity.matching import (
    align_network,
    correlations,
    match_activations,
    match_weights,
)
from isthmus.connectivity.permutation_spec import draw_permutations, identity_permutations, permute
from isthmus.models.mlp import MLP
from isthmus.models.resnet_cifar import ResNetCifar
from isthmus.state_dicts import distance
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


NAMES = ["mlp", "lenet5", "resnet8_pad"]


class Branching(nn.Module):
    """A network whose way depends on values, so that its units cannot be traced."""

    def __init__(self):
        super().__init__()
        self.output = nn.Linear(6, 5)

    def forward(self, inputs):
        return self.output(inputs) if inputs.sum() < 1e9 else inputs


def shuffled(name, seed=3):
    """A model, its weights nearly as they are, and the same with hidden units in another order."""
    model, inputs = networks.made(name)
    inputs = networks.inputs(40, tuple(inputs.shape[1:]))
    found = permutation_spec.find_groups(model, inputs)
    end = permute(model.state_dict(), found, draw_permutations(found, seed))
    return model, networks.noisy(model.state_dict()), end, inputs


def logits(model, weights, inputs):
    model = copy.deepcopy(model).eval()
    model.load_state_dict(weights)
    with torch.no_grad():
        return model(inputs)


def test_no_alignment_leaves_a_network_as_it_is():
    model, start, end, inputs = shuffled("mlp")
    assert align_network(model, start, end, "none", inputs) is end


@pytest.mark.parametrize("align", ["weights", "activations"])
@pytest.mark.parametrize("name", ["mlp", "resnet8_pad"])
def test_a_network_whose_units_were_shuffled_is_put_in_order_again(name, align):
    model, start, end, inputs = shuffled(name)
    found = align_network(model, start, end, align, inputs)
    for key, tensor in model.state_dict().items():
        assert found[key].equal(tensor), key


@pytest.mark.parametrize("align", ["weights", "activations"])
@pytest.mark.parametrize("name", NAMES)
def test_an_aligned_network_computes_what_it_did_and_neither_it_nor_the_model_is_changed(
    name, align
):
    model, start, _, inputs = shuffled(name)
    end = networks.weights(model, 5)
    kept = {key: tensor.clone() for key, tensor in end.items()}
    own = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    found = align_network(model, start, end, align, inputs)
    assert any(not found[key].equal(end[key]) for key in end)
    torch.testing.assert_close(
        logits(model, found, inputs), logits(model, end, inputs), rtol=1e-9, atol=1e-9
    )
    assert all(end[key].equal(kept[key]) for key in kept)
    assert all(model.state_dict()[key].equal(own[key]) for key in own)


@pytest.mark.parametrize("align", ["none", "weights"])
def test_networks_of_different_architectures_are_refused(align):
    model, inputs = MLP((6,), 5, width=8).double(), networks.inputs(4, (6,))
    other = MLP((6,), 5, width=7).double().state_dict()
    with pytest.raises(ValueError, match="^networks 1 and 2 are of different architectures: "):
        align_network(model, model.state_dict(), other, align, inputs)


@pytest.mark.parametrize("align", ["weights", "activations"])
def test_a_model_whose_units_cannot_be_found_is_refused_naming_the_option(align):
    model, inputs = Branching().double(), networks.inputs(4, (6,))
    with pytest.raises(ValueError, match=f"^align={align}: "):
        align_network(model, model.state_dict(), model.state_dict(), align, inputs)


def find(model, input_shape):
    return permutation_spec.find_groups(model, torch.zeros(1, *input_shape, dtype=torch.float64))


def equal(first, second):
    return all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


class Residual(nn.Module):
    """A layer that reads and makes the same units."""

    def __init__(self):
        super().__init__()
        self.first, self.inside, self.output = nn.Linear(3, 6), nn.Linear(6, 6), nn.Linear(6, 2)

    def forward(self, inputs):
        hidden = self.first(inputs)
        return self.output(hidden + torch.relu(self.inside(hidden)))


@pytest.mark.parametrize("name", [name for name in networks.MODELS if name != "alexnet"])
def test_a_planted_permutation_is_found(name):
    model, inputs = networks.made(name)
    found = permutation_spec.find_groups(model, inputs)
    for seed in range(1 if name == "vgg11" else 3):
        planted = draw_permutations(found, seed)
        start = networks.noisy(permute(model.state_dict(), found, planted))
        assert equal(match_weights(start, model.state_dict(), found, seed), planted)


def test_one_hidden_layer_gets_the_best_of_all_permutations():
    model = MLP((3,), 2, width=5, depth=1).double()
    found, names = find(model, (3,)), list(model.state_dict())
    for seed in range(5):
        start, end = networks.weights(model, 2 * seed), networks.weights(model, 2 * seed + 1)
        best = min(
            itertools.permutations(range(5)),
            key=lambda p: float(distance(start, permute(end, found, [torch.tensor(p)]), names)),
        )
        assert match_weights(start, end, found)[0].tolist() == list(best)


def test_no_other_permutation_of_one_group_comes_closer():
    model = MLP((3,), 2, width=3, depth=8).double()
    found, names = find(model, (3,)), list(model.state_dict())
    for seed in range(10):
        start, end = networks.weights(model, 2 * seed), networks.weights(model, 2 * seed + 1)
        permutations = match_weights(start, end, found, seed)
        least = distance(start, permute(end, found, permutations), names)
        for k, other in itertools.product(range(8), itertools.permutations(range(3))):
            changed = [*permutations[:k], torch.tensor(other), *permutations[k + 1 :]]
            assert distance(start, permute(end, found, changed), names) > least - 1e-9


@pytest.mark.parametrize("make", [networks.resnet8, Residual])
def test_matching_never_brings_networks_farther_apart(make):
    model = make().double()
    found = find(model, networks.SMALL if make is networks.resnet8 else (3,))
    names = [name for name, _ in model.named_parameters()]
    for seed in range(10):
        start, end = networks.weights(model, 2 * seed), networks.weights(model, 2 * seed + 1)
        before = distance(start, end, names)
        after = distance(start, permute(end, found, match_weights(start, end, found, seed)), names)
        assert after < before


def test_a_permutation_planted_in_a_layer_that_reads_what_it_makes_is_found():
    model = Residual().double()
    found = find(model, (3,))
    planted = draw_permutations(found, seed=0)
    end = networks.weights(model, seed=0)
    start = networks.noisy(permute(end, found, planted))
    assert equal(match_weights(start, end, found), planted)


def test_networks_that_are_aligned_stay_as_they_are():
    model, inputs = networks.made("resnet8_pad")
    found = permutation_spec.find_groups(model, inputs)
    state_dict = model.state_dict()
    assert equal(
        match_weights(state_dict, networks.noisy(state_dict), found), identity_permutations(found)
    )


def test_first_layers_that_mislead_do_not_part_networks_that_are_aligned():
    model = MLP((3,), 2, width=8, depth=2, bias=False).double()
    start = networks.weights(model, seed=0)
    start["hidden.0.weight"] *= 1e-3
    end = {**start, "hidden.0.weight": start["hidden.0.weight"].roll(1, dims=0)}
    found = find(model, (3,))
    assert equal(match_weights(start, end, found), identity_permutations(found))


def test_units_that_are_all_alike_stay_where_they_are():
    model, inputs = networks.made("mlp")
    found = permutation_spec.find_groups(model, inputs)
    for value in (0.0, 1.0):
        alike = {name: torch.full_like(t, value) for name, t in model.state_dict().items()}
        assert equal(match_weights(alike, alike, found), identity_permutations(found))
        assert equal(
            match_weights(networks.weights(model, 1), alike, found), identity_permutations(found)
        )


def test_running_statistics_and_types_take_no_part():
    model, inputs = networks.made("resnet8_projection")
    found = permutation_spec.find_groups(model, inputs)
    start, end = networks.weights(model, 1), networks.weights(model, 2)
    permutations = match_weights(start, end, found)
    other = {n: 7 * t if "running" in n else t for n, t in end.items()}
    assert equal(match_weights(start, other, found), permutations)
    single = [{n: t.float().double() for n, t in each.items()} for each in (start, end)]
    halves = [{n: t.float() for n, t in each.items()} for each in (start, end)]
    assert equal(match_weights(*halves, found), match_weights(*single, found))


def test_the_same_seed_gives_the_same_permutations():
    model = MLP((3,), 2, width=16, depth=4).double()
    found = find(model, (3,))
    start, end = networks.weights(model, 1), networks.weights(model, 2)
    assert equal(match_weights(start, end, found, seed=5), match_weights(start, end, found, seed=5))


def test_what_cannot_be_compared_is_refused():
    model, inputs = networks.made("mlp")
    found, end = permutation_spec.find_groups(model, inputs), networks.weights(model, 1)
    start = dict(end)
    start["hidden.1.weight"] = start["hidden.1.weight"] * math.nan
    with pytest.raises(ValueError, match="^state_dict: hidden.1.weight is not finite$"):
        match_weights(start, end, found)
    del end["output.weight"]
    with pytest.raises(ValueError, match="^state_dict: has no output.weight, which has hidden"):
        match_weights(networks.weights(model, 1), end, found)
