import pytest
import torch

from isthmus import state_dicts
from isthmus.averaging import checkpoint_average
from tests.test_state_dicts import Loader, states


@pytest.mark.parametrize("num_models", [1, 2, 7])
@pytest.mark.parametrize("decay", [0.0, 0.5, 0.9])
def test_ema_weights_are_those_of_the_recursion(num_models, decay):
    models = states(num_models)
    average = models[0]["weight"].double()
    for model in models[1:]:
        average = decay * average + (1 - decay) * model["weight"].double()
    weights = checkpoint_average.ema_weights(num_models, decay)
    assert sum(weights) == pytest.approx(1)
    torch.testing.assert_close(state_dicts.mean(models, weights)["weight"], average.float())


def test_a_greedy_soup_holds_one_network_at_a_time():
    kept = checkpoint_average.greedy_soup(Loader(), lambda mean, last: last % 3, [0.0] * 20)
    assert kept == [0, 1, 2, 5, 8, 11, 14, 17]


def soup_of(points, target, calls=None):
    """A greedy soup of networks of one weight; the score is minus the distance to the target."""

    def score(mean, last):
        if calls is not None:
            calls.append((last, mean["weight"].item()))
        return -abs(mean["weight"].item() - target)

    scores = [-abs(point - target) for point in points]
    kept = checkpoint_average.greedy_soup(
        lambda i: {"weight": torch.tensor([points[i]])}, score, scores
    )
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
        checkpoint_average.greedy_soup(lambda i: {}, lambda mean, last: 0.0, [])
