import itertools
import math

import pytest
import torch
from torch import nn

from isthmus.connectivity import permutation_spec
from isthmus.connectivity.matching import match_weights
from isthmus.connectivity.permutation_spec import draw_permutations, identity_permutations, permute
from isthmus.models.mlp import MLP
from isthmus.state_dicts import distance
from tests.connectivity import networks


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
