import importlib
from dataclasses import replace

import numpy as np
import pytest
import torch

from isthmus import rng
from isthmus.data.batches import calibration, eval_batches, train_batches
from isthmus.data.decoding import open_image
from isthmus.data.imagenet import ImageNet
from isthmus.data.orders import data_order
from isthmus.data.recipe import blur
from isthmus.data.splits import Augmentation
from isthmus.data.streams import (
    AREA,
    RATIO,
    StreamedEvalBatches,
    StreamedTrainBatches,
    central_crop,
    random_box,
    resize_box,
    to_pixels,
)
from isthmus.data.torchvision_import import datasets
from tests.data import made


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """11 training images of many sizes, read from their files."""
    root = tmp_path_factory.mktemp("data")
    for part in ("train", "val"):
        for number in range(11):
            path = root / "imagenet" / part / ("cat", "dog")[number % 2] / f"{number}.jpg"
            made.write_image(path, (20 + number, 30 - number), seed=number)
    return ImageNet(
        root=str(root), val_fraction=0.0, image_size=12, resize=14, mean=[0.5, 0.4, 0.3]
    ).load(0)


def batches_of(data, batch_size=4, num_workers=0, channels_last=False, seeds=(1, 2)):
    return StreamedTrainBatches(data, batch_size, *seeds, "cpu", channels_last, num_workers)


def joined(batches):
    """Inputs and labels of several batches as one."""
    inputs, labels = zip(*batches, strict=True)
    return torch.cat(inputs), torch.cat(labels)


def normalized(pixels, data):
    mean = torch.tensor(data.normalization.mean).view(3, 1, 1)
    std = torch.tensor(data.normalization.std).view(3, 1, 1)
    return (pixels / 255 - mean) / std


def test_an_epoch_is_that_of_the_naive_loop(data):
    data = replace(data, augmentation=replace(data.augmentation, cutout=4))
    inputs, labels = joined(batches_of(data).epoch(3))
    order = data_order(1, 3, 11)
    assert torch.equal(labels, data.train.labels[order])
    for position, found in zip(order.tolist(), inputs, strict=True):
        image = open_image(data.train.path(position))
        generator = rng.generator(2, "augmentation", 3, position)
        box = random_box(image.width, image.height, generator)
        mirrored = torch.randint(2, (), generator=generator)
        row, column = torch.randint(12, (2,), generator=generator).tolist()
        pixels = to_pixels(resize_box(image, box, 12))
        expected = normalized(pixels.flip(2) if mirrored else pixels, data)
        expected[:, max(0, row - 2) : row + 2, max(0, column - 2) : column + 2] = 0
        torch.testing.assert_close(found, expected)


def test_evaluation_takes_central_crops_in_order_again_and_again(data):
    batches = StreamedEvalBatches(data.test, data.normalization, 4, "cpu")
    assert len(batches) == 11 and torch.equal(batches.indices, torch.arange(11))
    for _ in range(2):
        inputs, labels = joined(batches)
        assert torch.equal(labels, data.test.labels)
        for position, found in enumerate(inputs):
            crop = central_crop(open_image(data.test.path(position)), 14, 12)
            torch.testing.assert_close(found, normalized(to_pixels(crop), data))


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # on a single core
def test_the_number_of_workers_changes_nothing(data):
    one, other = (joined(batches_of(data, 4, workers).epoch(0)) for workers in (0, 2))
    assert torch.equal(one[0], other[0]) and torch.equal(one[1], other[1])
    one, other = (
        joined(eval_batches(data.test, data.normalization, 4, "cpu", num_workers=workers))
        for workers in (0, 2)
    )
    assert torch.equal(one[0], other[0]) and torch.equal(one[1], other[1])


@pytest.mark.parametrize("batch_size", [1, 11, 20])
def test_the_batch_size_changes_nothing(data, batch_size):
    one, other = (joined(batches_of(data, size).epoch(0)) for size in (4, batch_size))
    assert torch.equal(one[0], other[0]) and torch.equal(one[1], other[1])


def test_the_last_batch_has_what_is_left(data):
    batches = batches_of(data)
    assert [len(labels) for _, labels in batches.epoch(0)] == [4, 4, 3]
    assert batches.iterations_per_epoch == 3 and len(batches) == 11


def test_starting_within_an_epoch_gives_its_remaining_batches(data):
    batches = batches_of(data)
    whole = list(batches.epoch(2))
    for start in range(4):
        rest = list(batches.epoch(2, start))
        assert len(rest) == 3 - start
        for (inputs, labels), (same_inputs, same_labels) in zip(rest, whole[start:], strict=True):
            assert torch.equal(inputs, same_inputs) and torch.equal(labels, same_labels)
    with pytest.raises(ValueError, match=r"start: must be in \[0, 3\], got -1"):
        batches.epoch(0, start=-1)


def test_an_image_is_augmented_by_seed_epoch_and_index_alone(data):
    def by_index(data, seeds=(1, 2), epoch=0):
        batches = batches_of(data, seeds=seeds)
        indices = batches.indices[data_order(seeds[0], epoch, len(batches))].tolist()
        return dict(zip(indices, joined(batches.epoch(epoch))[0], strict=True))

    whole = by_index(data)
    part = by_index(replace(data, train=data.train.take(torch.tensor([9, 2, 5]))), seeds=(7, 2))
    assert set(part) == {9, 2, 5}
    assert all(torch.equal(part[index], whole[index]) for index in part)
    assert not torch.equal(by_index(data, seeds=(1, 3))[0], whole[0])
    assert not torch.equal(by_index(data, epoch=1)[0], whole[0])


def test_other_seeds_need_no_other_stream(data):
    other = batches_of(data).with_seeds(order_seed=7, augmentation_seed=8)
    expected = joined(batches_of(data, seeds=(7, 8)).epoch(1))
    assert all(map(torch.equal, joined(other.epoch(1)), expected))


def test_streaming_leaves_the_global_generator_alone(data):
    state = torch.get_rng_state()
    joined(batches_of(data).epoch(0))
    assert torch.equal(torch.get_rng_state(), state)


def test_the_memory_format_changes_no_value(data):
    data = replace(data, augmentation=replace(data.augmentation, cutout=4))
    (one, _), (other, _) = (
        next(iter(batches_of(data, 11, channels_last=last).epoch(0))) for last in (False, True)
    )
    assert torch.equal(one, other)
    assert one.is_contiguous() and other.is_contiguous(memory_format=torch.channels_last)


def test_without_augmentation_training_sees_central_crops(data):
    plain = replace(data, augmentation=None)
    inputs, _ = joined(batches_of(plain).epoch(0))
    expected, _ = joined(StreamedEvalBatches(data.train, data.normalization, 4, "cpu"))
    assert torch.equal(inputs, expected[data_order(1, 0, 11)])
    hidden = replace(data, augmentation=Augmentation(cutout=1))
    inputs, _ = joined(batches_of(hidden).epoch(0))
    changed = (inputs != expected[data_order(1, 0, 11)]).any(dim=1)
    assert (changed.flatten(1).sum(dim=1) <= 1).all() and changed.any()


def test_images_are_blurred_and_turned_as_asked(data):
    turns = torch.arange(11) % 4
    split = replace(data.test, blur_factor=3, quarter_turns=turns)
    inputs, _ = joined(StreamedEvalBatches(split, data.normalization, 4, "cpu"))
    for position, found in enumerate(inputs):
        pixels = to_pixels(central_crop(open_image(split.path(position)), 14, 12))
        pixels = blur(pixels.unsqueeze(0), 3)[0]
        expected = torch.rot90(pixels, int(turns[position]), dims=(1, 2))
        torch.testing.assert_close(found, normalized(expected, data))


def test_calibration_of_a_stream_is_a_fixed_part_without_augmentation(data):
    inputs = calibration(data, 5)
    assert inputs.shape == (5, 3, 12, 12)
    everything, _ = joined(StreamedEvalBatches(data.train, data.normalization, 4, "cpu"))
    found = (inputs.flatten(1).unsqueeze(1) == everything.flatten(1)).all(dim=2)
    assert (found.sum(dim=1) == 1).all()
    assert torch.equal(calibration(data, 100)[:5], inputs)


def test_data_in_files_is_streamed(data):
    assert isinstance(train_batches(data, 4, 1, 2, "cpu"), StreamedTrainBatches)
    batches = eval_batches(data.test, data.normalization, 4, "cpu")
    assert isinstance(batches, StreamedEvalBatches)


def test_what_files_cannot_give_is_refused(data):
    with pytest.raises(ValueError, match="cannot augment images in files by .*padding=4"):
        batches_of(replace(data, augmentation=Augmentation(padding=4)))
    with pytest.raises(ValueError, match="batch_size: must be at least 1, got 0"):
        batches_of(data, batch_size=0)


def test_an_unreadable_image_is_named(data, tmp_path):
    split = replace(data.test, folder=str(tmp_path))
    made.write_image(tmp_path / "val" / "cat" / "0.jpg")
    with pytest.raises(ValueError, match="val/cat/10.jpg cannot be read as an image"):
        joined(StreamedEvalBatches(split, data.normalization, 4, "cpu"))


datasets()  # so that torchvision can be imported
transforms = importlib.import_module("torchvision.transforms")


@pytest.mark.parametrize("size", [(40, 30), (30, 40), (33, 33), (16, 16), (17, 90), (9, 7)])
def test_a_central_crop_is_that_of_torchvision(tmp_path, size):
    image = made.write_image(tmp_path / "a.png", size)
    expected = transforms.CenterCrop(12)(transforms.Resize(16)(image))
    assert np.array_equal(np.asarray(central_crop(image, 16, 12)), np.asarray(expected))


@pytest.mark.parametrize("size", [(40, 30), (500, 375), (5, 400), (400, 5), (1, 1)])
def test_random_boxes_are_those_of_torchvision(tmp_path, size):
    image = made.write_image(tmp_path / "a.png", size)
    for seed in range(50):
        torch.manual_seed(rng.derive(seed, "box"))
        top, left, height, width = transforms.RandomResizedCrop.get_params(
            image, list(AREA), list(RATIO)
        )
        found = random_box(*size, rng.generator(seed, "box"))
        assert found == (left, top, width, height)


def test_random_boxes_lie_in_the_image_and_vary():
    generator = torch.Generator().manual_seed(0)
    boxes = {random_box(30, 20, generator) for _ in range(200)}
    assert len(boxes) > 150
    for left, top, width, height in boxes:
        assert 0 <= left and 0 <= top and left + width <= 30 and top + height <= 20


def test_a_box_is_resized_as_by_torchvision(tmp_path):
    image = made.write_image(tmp_path / "a.png", (30, 20))
    expected = transforms.functional.resized_crop(image, 3, 5, 11, 13, [8, 8])
    assert np.array_equal(np.asarray(resize_box(image, (5, 3, 13, 11), 8)), np.asarray(expected))
