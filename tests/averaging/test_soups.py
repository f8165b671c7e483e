import weakref

import pytest
import torch

from src.averaging import soups


def states(num_models, dtype=torch.float32):
    """Networks of a weight, running statistics and a counter, far from each other in size."""
    generator = torch.Generator().manual_seed(0)
    return [
        {
            "weight": torch.randn(5, 3, generator=generator).mul(10.0 ** (i % 5)).to(dtype),
            "bn.running_var": torch.rand(3, generator=generator).to(dtype),
            "bn.num_batches_tracked": torch.tensor(i),
        }
        for i in range(num_models)
    ]


def naive(models, weights):
    """The weighted mean of all at once, in float64."""
    shares = torch.tensor(weights, dtype=torch.float64) / sum(weights)
    return {
        name: torch.tensordot(shares, torch.stack([m[name].double() for m in models]), 1)
        for name in models[0]
    }


def assert_is(got, models, weights):
    expected = naive(models, weights)
    assert list(got) == list(models[0])
    for name, tensor in got.items():
        assert tensor.dtype == models[0][name].dtype
        if tensor.is_floating_point():
            # equal but where float64 lies on the border between two values of the type
            torch.testing.assert_close(tensor, expected[name].to(tensor.dtype), rtol=1e-7, atol=0)
        else:
            assert tensor.equal(models[-1][name])


@pytest.mark.parametrize("num_models", [1, 2, 50])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_mean_is_that_of_all_at_once_in_float64(num_models, dtype):
    models = states(num_models, dtype)
    assert_is(soups.mean(iter(models), [1.0] * num_models), models, [1.0] * num_models)


def test_weights_are_divided_by_their_sum():
    models, weights = states(3), [2.0, -0.5, 3.0]
    assert_is(soups.mean(models, weights), models, weights)


@pytest.mark.parametrize("weights", [[1.0], [1.0, 1.0], [1.0] * 3, [0.1, 0.7]])
def test_the_mean_of_a_network_with_itself_is_that_network(weights):
    (model,) = states(1)
    got = soups.mean([model] * len(weights), weights)
    for name, tensor in model.items():
        assert got[name].equal(tensor)
        assert got[name].data_ptr() != tensor.data_ptr()


@pytest.mark.parametrize("num_models", [1, 2, 7])
@pytest.mark.parametrize("decay", [0.0, 0.5, 0.9])
def test_ema_weights_are_those_of_the_recursion(num_models, decay):
    models = states(num_models)
    average = models[0]["weight"].double()
    for model in models[1:]:
        average = decay * average + (1 - decay) * model["weight"].double()
    weights = soups.ema_weights(num_models, decay)
    assert sum(weights) == pytest.approx(1)
    torch.testing.assert_close(soups.mean(models, weights)["weight"], average.float())


@pytest.mark.parametrize("num_weights", [1, 3])
def test_another_number_of_weights_is_refused(num_weights):
    with pytest.raises(ValueError, match=f"one a network, got {num_weights} for 2"):
        soups.mean(states(2), [1.0] * num_weights)


@pytest.mark.parametrize("weights", [[], [0.0, 0.0], [1.0, -2.0]])
def test_a_sum_of_weights_that_is_not_positive_is_refused(weights):
    with pytest.raises(ValueError, match="their sum must be positive"):
        soups.mean(states(2), weights)


class Loader:
    """Makes networks, and counts those that are still somewhere in memory."""

    def __init__(self):
        self.alive = weakref.WeakSet()

    def __call__(self, position):
        assert len(self.alive) == 0, "an earlier network is still held"
        tensor = torch.full((4,), float(position))
        self.alive.add(tensor)
        return {"weight": tensor}


def test_a_mean_holds_one_network_at_a_time():
    got = soups.mean(map(Loader(), range(50)), [1.0] * 50)
    assert got["weight"].tolist() == [24.5] * 4


def test_a_greedy_soup_holds_one_network_at_a_time():
    kept = soups.greedy_soup(Loader(), lambda mean, last: last % 3, [0.0] * 20)
    assert kept == [0, 1, 2, 5, 8, 11, 14, 17]


def soup_of(points, target, calls=None):
    """A greedy soup of networks of one weight; the score is minus the distance to the target."""

    def score(mean, last):
        if calls is not None:
            calls.append((last, mean["weight"].item()))
        return -abs(mean["weight"].item() - target)

    scores = [-abs(point - target) for point in points]
    kept = soups.greedy_soup(lambda i: {"weight": torch.tensor([points[i]])}, score, scores)
    mean = sum(points[i] for i in kept) / len(kept)
    return kept, -abs(mean - target), scores


def test_a_greedy_soup_tries_the_best_first_and_keeps_what_does_not_harm():
    calls = []
    kept, _, _ = soup_of([8.0, 1.0, -1.0, 4.0], 0.0, calls)
    assert kept == [1, 2]
    assert calls == [(2, 0.0), (3, pytest.approx(4 / 3)), (0, pytest.approx(8 / 3))]


def test_a_greedy_soup_keeps_its_best_alone_if_all_others_harm():
    assert soup_of([5.0, 0.0, 7.0], 0.0)[0] == [1]


def test_of_equal_ingredients_all_are_kept_in_the_order_given():
    assert soup_of([2.0, 2.0, 2.0], 0.0)[0] == [0, 1, 2]


@pytest.mark.parametrize("seed", range(20))
def test_a_greedy_soup_never_ends_below_its_best_ingredient(seed):
    points = torch.randn(9, generator=torch.Generator().manual_seed(seed)).tolist()
    _, score, scores = soup_of(points, 0.3)
    assert score >= max(scores) - 1e-6


def test_a_greedy_soup_of_nothing_is_refused():
    with pytest.raises(ValueError, match="a soup needs at least one ingredient, got none"):
        soups.greedy_soup(lambda i: {}, lambda mean, last: 0.0, [])
