from dataclasses import replace

import pytest
import torch

from src.data.batches import TrainBatches
from src.data.splits import Augmentation
from src.data.stacked_batches import StackedBatches
from tests.data import made

EVERYTHING = Augmentation(padding=2, flip=True, cutout=3)
SEEDS = [(1, 2), (3, 4), (3, 5)]  # of the order, and of the augmentation


def batches_of(train=None, augmentation=EVERYTHING, batch_size=4, channels_last=False):
    """Three trainings on one training set."""
    data = made.data_set(train or made.split(11), augmentation)
    first = TrainBatches(data, batch_size, 0, 0, "cpu", channels_last)
    return [first.seeded(*seeds) for seeds in SEEDS]


def assert_stacked(each, epoch, start=0):
    """A stack gives what each gives by itself, bit for bit."""
    found = list(StackedBatches(each).epoch(epoch, start))
    expected = zip(*(one.epoch(epoch, start) for one in each), strict=True)
    for (inputs, labels), parts in zip(found, expected, strict=True):
        assert torch.equal(inputs, torch.stack([part[0] for part in parts]))
        assert torch.equal(labels, torch.stack([part[1] for part in parts]))
    return found


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(
    "augmentation",
    [None, EVERYTHING, Augmentation(padding=1), Augmentation(flip=True), Augmentation(cutout=4)],
)
def test_a_stack_gives_bit_for_bit_what_each_gives(augmentation, channels_last):
    each = batches_of(augmentation=augmentation, channels_last=channels_last)
    found = assert_stacked(each, epoch=5)
    assert [labels.shape for _, labels in found] == [(3, 4), (3, 4), (3, 3)]
    if channels_last:
        assert found[0][0][0].is_contiguous(memory_format=torch.channels_last)


def test_what_is_no_image_is_stacked_too():
    assert_stacked(batches_of(made.features(7), augmentation=None), epoch=0)


@pytest.mark.parametrize("batch_size", [1, 11, 12])
def test_a_batch_size_of_one_of_all_and_beyond(batch_size):
    assert_stacked(batches_of(batch_size=batch_size), epoch=1)


@pytest.mark.parametrize("start", [0, 1, 2, 3])
def test_starting_within_an_epoch_gives_its_remaining_batches(start):
    assert len(assert_stacked(batches_of(), epoch=2, start=start)) == 3 - start


def test_a_stack_of_one_is_that_one():
    assert_stacked(batches_of()[:1], epoch=0)


def test_starting_beyond_an_epoch_is_refused():
    with pytest.raises(ValueError, match=r"start: must be in \[0, 3\], got 4"):
        StackedBatches(batches_of()).epoch(0, start=4)


def test_different_batch_sizes_are_refused():
    with pytest.raises(ValueError, match=r"one batch size .* got \[4, 5\]"):
        StackedBatches([batches_of()[0], batches_of(batch_size=5)[0]])


def test_different_training_sets_are_refused():
    one = batches_of()
    other = batches_of(replace(made.split(11), labels=torch.zeros(11, dtype=torch.int64)))
    with pytest.raises(ValueError, match="one training set, in the same memory"):
        StackedBatches([one[0], other[0]])
