from dataclasses import replace

import pytest
import torch

from isthmus import state_dicts
from isthmus.averaging import checkpoint_average
from isthmus.averaging.checkpoint_average import NAME, Checkpoints
from isthmus.averaging.options import Average
from isthmus.store import files as store_files
from isthmus.training import batch_norm
from isthmus.training.evaluator import Evaluator
from tests import toys
from tests.test_state_dicts import Loader, states


def ingredients(folder, num_models=2, bn="average", num_val=15, seed=0):
    """Networks that differ in everything, statistics too, in files."""
    generator = torch.Generator().manual_seed(seed)
    data = toys.data(num_val=num_val)
    model = toys.Small(data.input_shape, data.num_classes)
    files = [folder / f"{i}.safetensors" for i in range(num_models)]
    for position, file in enumerate(files):
        state = {
            name: torch.rand(t.shape, generator=generator) - (0 if "running_var" in name else 0.5)
            if t.is_floating_point()
            else torch.tensor(position)
            for name, t in model.state_dict().items()
        }
        store_files.save_weights(file, state, {})
    evaluator = Evaluator(model, data, torch.device("cpu"), toys.RUNTIME)
    return Checkpoints(files, evaluator, bn)


@pytest.mark.parametrize("bn", ["average", "keep", "reset"])
def test_batch_norm_statistics_are_those_that_were_asked_for(bn, tmp_path):
    pot = ingredients(tmp_path, bn=bn)
    first, second = pot.load(0), pot.load(1)
    mean = {name: (first[name].double() + second[name]).div(2).float() for name in first}
    expected = {
        "average": mean | {"bn.num_batches_tracked": torch.tensor(1)},
        "keep": mean | {name: t for name, t in second.items() if name in STATISTICS},
        "reset": pot.evaluator.reset_batch_norm(mean),
    }[bn]
    got = pot.average(Average(method="uniform"))
    assert got.shares == [0.5, 0.5]
    torch.testing.assert_close(got.weights, expected, check_dtype=False)
    others = {name: t for name, t in first.items() if name not in STATISTICS}
    assert all(got.weights[name].equal(mean[name]) for name in others)
    assert got.evaluation == pot.evaluator.table(
        {str(pot.files[0]): first, str(pot.files[1]): second, NAME: got.weights}
    )


STATISTICS = ["bn.running_mean", "bn.running_var", "bn.num_batches_tracked"]


def test_statistics_are_named_as_in_the_state_dict():
    assert batch_norm.statistics_names(toys.Small((2, 4, 4), 3)) == STATISTICS
    assert batch_norm.statistics_names(torch.nn.Linear(2, 3)) == []
    assert batch_norm.statistics_names(torch.nn.BatchNorm1d(2)) == [n[3:] for n in STATISTICS]


@pytest.mark.parametrize("bn", ["average", "keep", "reset"])
@pytest.mark.parametrize("seed", range(4))
def test_a_greedy_soup_is_never_below_its_best_ingredient(bn, seed, tmp_path):
    pot = ingredients(tmp_path, num_models=5, bn=bn, seed=seed)
    got = pot.average(Average(method="greedy_soup", splits=["test"]))
    accuracies = [row["val"]["accuracy"] for row in got.evaluation.values()]
    assert accuracies[-1] == max(accuracies)
    kept = [share for share in got.shares if share]
    assert kept == [1 / len(kept)] * len(kept)


def test_a_greedy_soup_needs_a_validation_split(tmp_path):
    with pytest.raises(ValueError, match="needs a validation split; this data set has train, test"):
        ingredients(tmp_path, num_val=0).average(Average(method="greedy_soup"))


def test_a_file_given_twice_counts_twice(tmp_path):
    pot = ingredients(tmp_path)
    pot.files = [pot.files[0], pot.files[0], pot.files[1]]
    assert pot.average(Average(method="uniform_soup", splits=["test"])).shares == [1 / 3] * 3


def test_a_greedy_soup_needs_accuracies(tmp_path):
    pot = ingredients(tmp_path)
    pot.evaluator.data = replace(pot.evaluator.data, loss="squared")
    with pytest.raises(ValueError, match="^method=greedy_soup: compares accuracies"):
        pot.average(Average(method="greedy_soup"))


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
