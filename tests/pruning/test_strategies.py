import copy
import dataclasses

import pytest
import torch
from torch import nn
from torch.nn.utils import prune as torch_prune

from isthmus.models.mlp import MLP
from isthmus.models.resnet_cifar import ResNetCifar
from isthmus.pruning.strategies import Fc19, Han, Random, SparseGlobal, prune_mask
from isthmus.training import masks

STRATEGIES = [SparseGlobal, Fc19, Han, Random]


def network(seed=0):
    torch.manual_seed(seed)
    return ResNetCifar((3, 8, 8), 10, depth=8, width=4)


def dense(model):
    return masks.dense_mask(
        {n: model.get_parameter(n).shape for n in masks.prunable_layers(model).sizes}
    )


def weights(model):
    return {name: parameter.detach() for name, parameter in model.named_parameters()}


def levels(strategy, model, num_levels, seed=7):
    """Masks of levels whose weights move about in between, as in training."""
    found, generator = [dense(model)], torch.Generator().manual_seed(1)
    for level in range(1, num_levels + 1):
        moved = {
            n: w * (0.5 + torch.rand(w.shape, generator=generator))
            for n, w in weights(model).items()
        }
        moved = masks.apply_mask(moved, found[-1])
        found.append(
            prune_mask(strategy, masks.prunable_layers(model), moved, found[-1], level, seed)
        )
    return found


@pytest.mark.parametrize("amount", [0.2, 0.5, 0.9])
def test_one_level_is_the_global_unstructured_pruning_of_torch(amount):
    model = network()
    found = prune_mask(
        SparseGlobal(amount),
        masks.prunable_layers(model),
        weights(model),
        dense(model),
        1,
        seed=0,
    )
    twin = copy.deepcopy(model)
    parts = [(twin.get_submodule(name.removesuffix(".weight")), "weight") for name in found]
    torch_prune.global_unstructured(parts, torch_prune.L1Unstructured, amount=amount)
    for name, (module, _) in zip(found, parts, strict=True):
        assert found[name].equal(module.weight_mask.bool())


def test_three_levels_are_three_times_the_pruning_of_torch():
    model = network()
    total = sum(masks.prunable_layers(model).sizes.values())
    mask, twin = dense(model), copy.deepcopy(model)
    parts = [(twin.get_submodule(name.removesuffix(".weight")), "weight") for name in mask]
    for level in (1, 2, 3):
        before, after = (masks.num_pruned(total, 0.2, k) for k in (level - 1, level))
        torch_prune.global_unstructured(parts, torch_prune.L1Unstructured, amount=after - before)
        mask = prune_mask(
            SparseGlobal(0.2),
            masks.prunable_layers(model),
            weights(model),
            mask,
            level,
            seed=0,
        )
        for name, (module, _) in zip(mask, parts, strict=True):
            assert mask[name].equal(module.weight_mask.bool())


def test_layers_of_fc19_are_those_of_torch_each_by_itself():
    model = MLP((6,), 4, width=[9, 7])
    found = prune_mask(
        Fc19(0.3), masks.prunable_layers(model), weights(model), dense(model), 1, seed=0
    )
    for name, kept in found.items():
        module = copy.deepcopy(model.get_submodule(name.removesuffix(".weight")))
        amount = 0.15 if name == "output.weight" else 0.3
        torch_prune.l1_unstructured(module, "weight", amount)
        assert kept.equal(module.weight_mask.bool())


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_masks_are_nested_and_their_counts_the_closed_form(strategy):
    model = network()
    made, own = strategy(0.3), masks.prunable_layers(network())
    for level, mask in enumerate(levels(made, model, 6)):
        for group in made.groups(own):
            total = sum(own.sizes[name] for name in group.layers)
            kept = sum(int(mask[name].sum()) for name in group.layers)
            assert total - kept == masks.num_pruned(total, group.fraction, level)
    found = levels(made, model, 6)
    for earlier, later in zip(found, found[1:], strict=False):
        assert all((later[name] <= earlier[name]).all() for name in later)


def test_densities_of_a_resnet20_are_powers_to_the_exact_count():
    model = ResNetCifar((3, 32, 32), 10)
    found = levels(SparseGlobal(0.2), model, 3)
    assert [sum(masks.num_kept(mask).values()) for mask in found] == [
        268336,
        214669,
        171735,
        137388,
    ]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_what_is_ignored_keeps_all_and_takes_nothing_from_the_others(strategy):
    model = MLP((6,), 4, width=[9, 7])
    made = strategy(0.5, ignore=["hidden.1"])
    mask = levels(made, model, 1)[1]
    assert mask["hidden.1.weight"].all()
    kept = masks.num_kept(mask)
    if strategy is Fc19:
        assert (kept["hidden.0.weight"], kept["output.weight"]) == (27, 21)
    else:
        assert kept["hidden.0.weight"] + kept["output.weight"] == (54 + 28) // 2


@pytest.mark.parametrize("strategy", [SparseGlobal, Fc19, Han])
def test_of_equal_weights_the_first_go_first(strategy):
    model = nn.Sequential(nn.Linear(5, 2, bias=False), nn.Linear(2, 5, bias=False))
    equal = {name: torch.full_like(w, -0.5) for name, w in weights(model).items()}
    mask = prune_mask(
        strategy(0.4, ignore=[]), masks.prunable_layers(model), equal, dense(model), 1, seed=0
    )
    flat = torch.cat([mask["0.weight"].flatten(), mask["1.weight"].flatten()])
    if strategy is Fc19:  # 4 of the first layer, 2 of the output
        assert flat.tolist() == [False] * 4 + [True] * 6 + [False] * 2 + [True] * 8
    else:
        assert flat.tolist() == [False] * 8 + [True] * 12


def test_a_weight_of_zero_that_has_a_place_goes_after_those_without_one():
    model = nn.Sequential(nn.Linear(4, 1, bias=False), nn.Linear(1, 1))
    mask = dense(model) | {"0.weight": torch.tensor([[False, True, True, True]])}
    values = {"0.weight": torch.tensor([[9.0, 0.0, 2.0, 1.0]]), "1.weight": torch.ones(1, 1)}
    found = prune_mask(SparseGlobal(0.5), masks.prunable_layers(model), values, mask, 1, seed=0)
    assert found["0.weight"].tolist() == [[False, False, True, True]]


def test_random_masks_depend_on_the_seed_and_on_no_weight():
    model = network()
    first, again = (levels(Random(0.3), network(seed), 2) for seed in (0, 5))
    for mask, other in zip(first, again, strict=True):
        assert all(mask[name].equal(other[name]) for name in mask)
    study, own = (
        levels(Random(0.3), model, 1, seed=8),
        levels(Random(0.3, seed=7), model, 1, seed=8),
    )
    assert not study[1]["stem.0.weight"].equal(first[1]["stem.0.weight"])
    assert own[1]["stem.0.weight"].equal(first[1]["stem.0.weight"])


def test_a_strategy_changes_nothing_that_it_is_given():
    model = network()
    mask = dense(model)
    prune_mask(SparseGlobal(0.5), masks.prunable_layers(model), weights(model), mask, 1, seed=0)
    assert all(kept.all() for kept in mask.values())


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("fraction", [0.0, 1.0, 1.2, -0.1, float("nan")])
def test_a_fraction_outside_its_range_is_refused(strategy, fraction):
    with pytest.raises(ValueError, match=rf"^fraction: must be in \(0, 1\), got {fraction}$"):
        strategy(fraction)


def test_what_strategies_rewind_and_ignore_by_default():
    own = masks.prunable_layers(MLP((6,), 4))
    assert [strategy.rewind for strategy in STRATEGIES] == ["weights", "weights", "none", "weights"]
    assert [strategy.name for strategy in STRATEGIES] == ["sparse_global", "fc19", "han", "random"]
    for strategy in STRATEGIES:
        pruned = [name for group in strategy().groups(own) for name in group.layers]
        assert ("output.weight" in pruned) == (strategy is Fc19)
        assert dataclasses.replace(strategy(), fraction=0.5).fraction == 0.5
