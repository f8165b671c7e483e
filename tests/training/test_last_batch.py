import pytest
import torch
from torch import nn

from isthmus.training import session

FEATURES = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
EXAMPLE = torch.zeros(1, 4)


def test_a_last_batch_of_one_is_refused_where_batch_norm_needs_two():
    message = r"hparams.batch_size=5: 11 training examples leave a batch of one, which batch norm"
    with pytest.raises(ValueError, match=message):
        session.check_last_batch(FEATURES, EXAMPLE, num_examples=11, batch_size=5)


def test_batches_of_one_are_refused_too():
    with pytest.raises(ValueError, match="hparams.batch_size=1: 3 training examples"):
        session.check_last_batch(FEATURES, EXAMPLE, num_examples=3, batch_size=1)


@pytest.mark.parametrize(("num_examples", "batch_size"), [(10, 5), (12, 5), (1000, 100)])
def test_other_last_batches_are_not(num_examples, batch_size):
    session.check_last_batch(FEATURES, EXAMPLE, num_examples, batch_size)


def test_one_image_has_many_values_and_one_example_without_batch_norm_needs_no_more():
    images = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    session.check_last_batch(images, torch.zeros(1, 1, 5, 5), num_examples=11, batch_size=5)
    session.check_last_batch(nn.Linear(4, 3), EXAMPLE, num_examples=11, batch_size=5)


def test_the_check_leaves_the_statistics_as_they_are():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)).eval()
    session.check_last_batch(model, torch.ones(1, 1, 5, 5), num_examples=11, batch_size=5)
    assert not model.training and model[1].num_batches_tracked == 0
