import pytest
import torch

from isthmus.training import masks
from isthmus.training.masks import shuffle_mask

NAMES = ["a", "b"]


def mask():
    generator = torch.Generator().manual_seed(0)
    sizes = {"a": (30, 20), "b": (10, 5, 4), "output": (5, 10)}
    shares = {"a": 0.1, "b": 0.6, "output": 0.5}
    return {n: torch.rand(size, generator=generator) < shares[n] for n, size in sizes.items()}


def total(of):
    return sum(masks.num_kept({name: of[name] for name in NAMES}).values())


@pytest.mark.parametrize("strategy", ["layerwise", "global", "even", "identity"])
def test_as_many_weights_are_kept_and_other_layers_are_left_alone(strategy):
    before, given = mask(), mask()
    found = shuffle_mask(given, strategy, NAMES, seed=1)
    assert list(found) == list(before)
    assert total(found) == total(before)
    assert found["output"].equal(before["output"])
    assert all(found[n].shape == before[n].shape and found[n].dtype == torch.bool for n in before)
    assert all(given[name].equal(before[name]) for name in before)
    same = all(found[name].equal(before[name]) for name in NAMES)
    assert same == (strategy == "identity")


def test_layerwise_keeps_the_count_of_each_layer():
    assert masks.num_kept(shuffle_mask(mask(), "layerwise", NAMES, 1)) == masks.num_kept(mask())


def test_global_moves_weights_between_layers_towards_one_density():
    kept = masks.num_kept(shuffle_mask(mask(), "global", NAMES, 1))
    share = total(mask()) / 800
    assert kept != masks.num_kept(mask())
    assert abs(kept["a"] / 600 - share) < 0.05 and abs(kept["b"] / 200 - share) < 0.1


def test_even_gives_each_layer_the_same_density():
    kept = masks.num_kept(shuffle_mask(mask(), "even", NAMES, 1))
    share = total(mask()) / 800
    assert abs(kept["a"] - share * 600) < 1 and abs(kept["b"] - share * 200) < 1


@pytest.mark.parametrize("strategy", ["layerwise", "global", "even"])
def test_a_shuffle_depends_on_its_seed(strategy):
    first, again, other = (shuffle_mask(mask(), strategy, NAMES, seed)["a"] for seed in (1, 1, 2))
    assert first.equal(again) and not first.equal(other)


def test_another_strategy_is_refused():
    with pytest.raises(
        ValueError, match="^strategy: must be layerwise, global, even or identity, g"
    ):
        shuffle_mask(mask(), "odd", NAMES, 1)


@pytest.mark.parametrize("strategy", ["layerwise", "global", "even"])
def test_places_of_a_ticket_are_drawn_among_its_own(strategy):
    generator = torch.Generator().manual_seed(1)
    given = mask()
    first = {
        n: part | (torch.rand(part.shape, generator=generator) < 0.5) for n, part in given.items()
    }
    found = shuffle_mask(given, strategy, NAMES, seed=1, first=first)
    assert total(found) == total(given)
    assert all(not (found[name] & ~first[name]).any() for name in NAMES)
    assert any(not found[name].equal(given[name]) for name in NAMES)


@pytest.mark.parametrize("strategy", ["layerwise", "global", "even"])
def test_a_ticket_with_all_weights_is_a_dense_network(strategy):
    dense = {name: torch.ones_like(part) for name, part in mask().items()}
    found = [shuffle_mask(mask(), strategy, NAMES, 1, first) for first in (None, dense)]
    assert all(found[0][name].equal(found[1][name]) for name in found[0])
