import pytest
import torch

from isthmus.data.clusters import Clusters


def made(**changes):
    return Clusters(**({"num_train": 600, "num_test": 100} | changes))


@pytest.mark.parametrize(("k", "num_features"), [(3, 2), (3, 20), (5, 3)])
def test_points_are_in_balls_of_one_class_that_do_not_touch(k, num_features):
    recipe = made(k=k, num_features=num_features, r=2.0)
    data, radius = recipe.load(0), 4.0 / (3 * k - 1)
    assert recipe.radius == pytest.approx(radius)
    # Coordinates of the nearest centre: -r + B + 3lB.
    places = ((data.train.inputs + 2 - radius) / (3 * radius)).round()
    assert places.min() >= 0 and places.max() <= k - 1
    distances = (data.train.inputs - (-2 + radius * (1 + 3 * places))).norm(dim=1)
    assert distances.max() <= radius * 1.0001
    centres, which = places.unique(dim=0, return_inverse=True)
    assert len(centres) == k * k
    for number in range(len(centres)):
        assert len(data.train.labels[which == number].unique()) == 1
    assert data.train.inputs.abs().max() <= 2


def test_points_fill_their_balls():
    recipe = made(k=2, num_features=2, num_train=4000)
    inputs = recipe.load(0).train.inputs
    places = ((inputs + 1 - recipe.radius) / (3 * recipe.radius)).round()
    distances = (inputs - (-1 + recipe.radius * (1 + 3 * places))).norm(dim=1) / recipe.radius
    assert (distances**2).mean().item() == pytest.approx(0.5, abs=0.02)  # uniform in a disk


def test_classes_are_about_balanced_and_have_one_output():
    for seed in range(5):
        data = made(seed=seed).load(0)
        assert 0.25 < data.train.labels.float().mean() < 0.75
    assert (data.num_classes, data.loss, data.input_shape) == (1, "logistic", (20,))
    assert data.class_names == ("-1", "1") and data.has_accuracy


def test_the_seed_alone_decides():
    first, again, other = (made(seed=seed).load(0) for seed in (1, 1, 2))
    assert torch.equal(first.train.inputs, again.train.inputs)
    assert not torch.equal(first.train.inputs, other.train.inputs)
    assert not torch.equal(first.train.inputs[:100], first.test.inputs)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"k": 1}, "k: must be at least 2, got 1"),
        ({"r": 0.0}, "r: must be positive, got 0"),
        ({"num_features": 1}, "num_features: must be at least 2, got 1"),
        ({"num_train": 0}, "num_train: must be at least 1, got 0"),
        ({"num_test": 0}, "num_test: must be at least 1, got 0"),
    ],
)
def test_a_value_out_of_its_range_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        made(**changes)


def test_labels_that_are_not_balanced_are_refused(monkeypatch):
    monkeypatch.setattr("isthmus.data.clusters.BALANCE", (2.0, 3.0))
    with pytest.raises(ValueError, match="^seed: no balanced labels in 100 tries"):
        made().load(0)
