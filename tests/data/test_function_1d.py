import pytest
import torch

from isthmus.data.function_1d import Function1D


def test_points_are_at_equal_distances_and_have_values_in_the_interval():
    data = Function1D(num_points=10).load(0)
    torch.testing.assert_close(data.train.inputs[:, 0], torch.linspace(-1, 1, 10))
    assert data.train.labels.abs().max() <= 1 and data.train.labels.unique().numel() == 10
    assert (data.num_classes, data.loss, data.has_accuracy) == (1, "squared", False)


def test_the_test_set_is_on_straight_lines_between_the_points():
    data = Function1D(num_points=3, seed=4).load(0)
    left, middle, right = data.train.labels.tolist()
    grid, values = data.test.inputs[:, 0], data.test.labels
    assert len(grid) == 201
    expected = torch.where(
        grid < 0, middle + (middle - left) * grid, middle + (right - middle) * grid
    )
    torch.testing.assert_close(values, expected)


def test_the_seed_alone_decides():
    first, other = (Function1D(seed=seed).load(0).train.labels for seed in (1, 2))
    assert torch.equal(first, Function1D(seed=1).load(7).train.labels)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_points": 1}, "num_points: must be at least 2, got 1"),
        ({"random_labels_fraction": 0.5}, "random_labels_fraction: must be 0, labels are numbers"),
    ],
)
def test_a_value_out_of_its_range_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        Function1D(**changes)


def test_scripts_that_compare_accuracies_refuse_it():
    with pytest.raises(ValueError, match="^dataset: compares accuracies, .* has none"):
        Function1D().load(0).require_accuracy("dataset")
