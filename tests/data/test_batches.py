from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from isthmus.data.augmentation import draw_augmentation
from isthmus.data.batches import EvalBatches, TrainBatches, calibration, eval_batches, train_batches
from isthmus.data.orders import data_order
from isthmus.data.splits import Augmentation, Normalization
from tests.data import made

EVERYTHING = Augmentation(padding=2, flip=True, cutout=3)


def batches_of(data, batch_size=4, channels_last=False, order_seed=1, augmentation_seed=2):
    return TrainBatches(data, batch_size, order_seed, augmentation_seed, "cpu", channels_last)


def joined(batches):
    """Inputs and labels of several batches as one."""
    inputs, labels = zip(*batches, strict=True)
    return torch.cat(inputs), torch.cat(labels)


def by_index(batches, epoch=0):
    """Inputs of an epoch, by index in the data set."""
    order = data_order(batches.order_seed, epoch, len(batches))
    return dict(zip(batches.indices[order].tolist(), joined(batches.epoch(epoch))[0], strict=True))


def naive(split, normalization, augmentation, epoch):
    """The augmented images of a split one by one, in its own order."""
    numbers = draw_augmentation(2, epoch, int(split.indices.max()) + 1)
    mean = torch.tensor(normalization.mean).view(-1, 1, 1)
    std = torch.tensor(normalization.std).view(-1, 1, 1)
    height, width = split.input_shape[1:]
    images = []
    for image, index in zip(split.inputs, split.indices, strict=True):
        row, column, mirrored, cutout_row, cutout_column = numbers[index].tolist()
        padded = F.pad(image, (augmentation.padding,) * 4)
        row, column = (n % (2 * augmentation.padding + 1) for n in (row, column))
        image = padded[:, row : row + height, column : column + width]
        image = image.flip(2) if augmentation.flip and mirrored % 2 else image
        image = (image.float() / 255 - mean) / std
        top = cutout_row % height - augmentation.cutout // 2
        left = cutout_column % width - augmentation.cutout // 2
        for y in range(max(0, top), min(height, top + augmentation.cutout)):
            for x in range(max(0, left), min(width, left + augmentation.cutout)):
                image[:, y, x] = 0
        images.append(image)
    return torch.stack(images)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(
    "augmentation",
    [EVERYTHING, Augmentation(padding=1), Augmentation(flip=True), Augmentation(cutout=4)],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_an_epoch_is_that_of_the_naive_loop(channels, augmentation, channels_last):
    data = made.data_set(made.split(11, channels, height=6, width=9), augmentation)
    inputs, labels = joined(batches_of(data, channels_last=channels_last).epoch(5))
    order = data_order(1, 5, 11)
    expected = naive(data.train, data.normalization, augmentation, epoch=5)
    torch.testing.assert_close(inputs, expected[order])
    assert torch.equal(labels, data.train.labels[order])


@pytest.mark.parametrize("train", [made.split(7), made.features(7)])
def test_without_augmentation_an_epoch_is_the_training_set_in_another_order(train):
    data = made.data_set(train)
    inputs, labels = joined(batches_of(data).epoch(0))
    order = data_order(1, 0, 7)
    expected, _ = joined(EvalBatches(train, data.normalization, 7, "cpu"))
    assert torch.equal(inputs, expected[order]) and torch.equal(labels, train.labels[order])


def test_the_last_batch_has_what_is_left():
    batches = batches_of(made.data_set(made.split(9), EVERYTHING))
    assert [len(labels) for _, labels in batches.epoch(0)] == [4, 4, 1]
    assert batches.iterations_per_epoch == 3 and len(batches) == 9


@pytest.mark.parametrize("num_examples", [1, 3])
def test_a_batch_size_beyond_the_training_set_is_one_batch(num_examples):
    batches = batches_of(made.data_set(made.split(num_examples), EVERYTHING), batch_size=128)
    (batch,) = batches.epoch(0)
    assert len(batch[0]) == num_examples and batches.iterations_per_epoch == 1


@pytest.mark.parametrize("batch_size", [1, 3, 13, 20])
def test_the_batch_size_changes_neither_order_nor_augmentation(batch_size):
    data = made.data_set(made.split(13), EVERYTHING)
    for one, other in zip(
        joined(batches_of(data, 4).epoch(3)),
        joined(batches_of(data, batch_size).epoch(3)),
        strict=True,
    ):
        assert torch.equal(one, other)


@pytest.mark.parametrize("augmentation", [None, EVERYTHING])
def test_starting_within_an_epoch_gives_its_remaining_batches(augmentation):
    batches = batches_of(made.data_set(made.split(11), augmentation))
    whole = list(batches.epoch(2))
    for start in range(4):
        rest = list(batches.epoch(2, start))
        assert len(rest) == 3 - start
        for (inputs, labels), (same_inputs, same_labels) in zip(rest, whole[start:], strict=True):
            assert torch.equal(inputs, same_inputs) and torch.equal(labels, same_labels)


def test_starting_beyond_an_epoch_is_refused():
    batches = batches_of(made.data_set(made.split(11)))
    with pytest.raises(ValueError, match=r"start: must be in \[0, 3\], got 4"):
        batches.epoch(0, start=4)


def test_the_order_changes_no_augmentation():
    data = made.data_set(made.split(13), EVERYTHING)
    one = by_index(batches_of(data, order_seed=1))
    other = by_index(batches_of(data, order_seed=9))
    assert list(one) != list(other)
    assert all(torch.equal(one[index], other[index]) for index in one)


def test_a_part_of_the_training_set_is_augmented_like_the_whole():
    data = made.data_set(made.split(13), EVERYTHING)
    part = replace(data, train=data.train.take(torch.tensor([2, 3, 7])))
    whole, some = by_index(batches_of(data)), by_index(batches_of(part))
    assert len(some) == 3 and all(torch.equal(some[index], whole[index]) for index in some)


def test_each_seed_and_the_epoch_change_their_own_part():
    data = made.data_set(made.split(13), EVERYTHING)
    inputs, labels = joined(batches_of(data).epoch(0))
    others, same_labels = joined(batches_of(data, augmentation_seed=3).epoch(0))
    assert torch.equal(labels, same_labels) and not torch.equal(inputs, others)
    _, other_labels = joined(batches_of(data, order_seed=3).epoch(0))
    assert not torch.equal(labels, other_labels)
    one, other = by_index(batches_of(data), 0), by_index(batches_of(data), 1)
    assert any(not torch.equal(one[index], other[index]) for index in one)


def test_other_seeds_need_no_other_memory():
    data = made.data_set(made.split(13), EVERYTHING)
    first = batches_of(data)
    other = first.with_seeds(order_seed=7, augmentation_seed=8)
    expected = joined(batches_of(data, order_seed=7, augmentation_seed=8).epoch(2))
    assert all(map(torch.equal, joined(other.epoch(2)), expected))
    assert other.labels is first.labels and other.crops is first.crops
    assert (first.order_seed, first.augmentation_seed) == (1, 2)


def test_epochs_can_be_had_in_any_order_and_again():
    batches = batches_of(made.data_set(made.split(5), EVERYTHING))
    first = joined(batches.epoch(1))
    torch.rand(1), list(batches.epoch(0))
    assert torch.equal(joined(batches.epoch(1))[0], first[0])


@pytest.mark.parametrize("augmentation", [None, EVERYTHING])
def test_the_memory_format_changes_no_value(augmentation):
    data = made.data_set(made.split(5), augmentation)
    contiguous, channels_last = (batches_of(data, 5, last) for last in (False, True))
    (one, _), (other, _) = next(contiguous.epoch(0)), next(channels_last.epoch(0))
    assert torch.equal(one, other)
    assert one.is_contiguous() and other.is_contiguous(memory_format=torch.channels_last)
    (evaluated, _), *_ = EvalBatches(data.train, data.normalization, 5, "cpu", True)
    assert evaluated.is_contiguous(memory_format=torch.channels_last)


def test_making_batches_leaves_the_data_set_and_the_global_generator_alone():
    data = made.data_set(made.split(5), EVERYTHING)
    before, state = data.train.inputs.clone(), torch.get_rng_state()
    for inputs, _ in batches_of(data).epoch(0):
        inputs.zero_()
    for inputs, _ in EvalBatches(data.train, data.normalization, 2, "cpu"):
        inputs.zero_()
    assert torch.equal(data.train.inputs, before) and torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    "make",
    [
        lambda data: TrainBatches(data, 0, 1, 2, "cpu"),
        lambda data: EvalBatches(data.train, data.normalization, 0, "cpu"),
    ],
)
def test_a_batch_size_below_one_is_refused(make):
    with pytest.raises(ValueError, match="batch_size: must be at least 1, got 0"):
        make(made.data_set(made.split(3)))


def test_what_cannot_be_augmented_in_memory_is_refused():
    with pytest.raises(ValueError, match=r"cannot augment inputs of shape \(5,\)"):
        batches_of(made.data_set(made.features(3), EVERYTHING))
    with pytest.raises(ValueError, match="resized_crop=True"):
        batches_of(made.data_set(made.split(3), Augmentation(resized_crop=True)))


@pytest.mark.parametrize("split", [made.split(9), made.features(9)])
def test_evaluation_goes_through_a_split_in_order_again_and_again(split):
    batches = EvalBatches(split, Normalization((0.5,), (0.25,)), 4, "cpu")
    assert len(batches) == 9 and torch.equal(batches.indices, split.indices)
    for _ in range(2):
        assert [len(labels) for _, labels in batches] == [4, 4, 1]
        inputs, labels = joined(batches)
        torch.testing.assert_close(inputs, (split.inputs / 255 - 0.5) / 0.25)
        assert torch.equal(labels, split.labels)


def test_evaluation_of_nothing_is_no_batch():
    nothing = made.split(3).take(torch.tensor([], dtype=torch.int64))
    assert list(EvalBatches(nothing, made.NORMALIZATION, 4, "cpu")) == []


def test_data_in_memory_is_batched_from_memory():
    data = made.data_set(made.split(5), EVERYTHING)
    assert isinstance(train_batches(data, 4, 1, 2, "cpu"), TrainBatches)
    assert isinstance(eval_batches(data.test, data.normalization, 4, "cpu"), EvalBatches)


def test_calibration_is_a_fixed_part_of_the_training_set_without_augmentation():
    data = made.data_set(made.split(300), EVERYTHING)
    inputs = calibration(data, 280)
    everything, _ = joined(EvalBatches(data.train, data.normalization, 7, "cpu"))
    assert len(inputs) == 280 and inputs.dtype == torch.float32
    assert torch.equal(calibration(replace(data, augmentation=None), 280), inputs)
    assert torch.equal(calibration(data, 10), inputs[:10])
    found = (inputs.flatten(1).unsqueeze(1) == everything.flatten(1)).all(dim=2)
    assert (found.sum(dim=1) == 1).all() and (found.sum(dim=0) <= 1).all()


def test_calibration_on_more_than_there_is_takes_all():
    data = made.data_set(made.features(5))
    assert calibration(data, 100).shape == (5, 5)


def test_calibration_on_nothing_is_refused():
    with pytest.raises(ValueError, match="num_examples: must be at least 1, got 0"):
        calibration(made.data_set(made.split(3)), 0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_makes_the_batches_of_the_cpu_without_waiting_for_the_host():
    data = made.data_set(made.split(33), EVERYTHING)
    expected = joined(batches_of(data).epoch(0))
    batches = TrainBatches(data, 4, 1, 2, "cuda").epoch(0)
    found = [next(batches)]
    torch.cuda.set_sync_debug_mode("error")
    try:
        found += list(batches)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    inputs, labels = joined(found)
    torch.testing.assert_close(inputs.cpu(), expected[0])
    assert torch.equal(labels.cpu(), expected[1])
