import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from isthmus.data import image_folder
from isthmus.data.batches import calibration, train_batches
from isthmus.data.decoding import decode
from isthmus.data.image_folder import ImageFolder
from isthmus.data.splits import Augmentation
from tests.data import made


def load(root, **options):
    return ImageFolder(root=str(root), cache_dir=str(root / "cache"), **options).load(0)


def test_a_folder_of_images_is_a_data_set(tmp_path):
    data = load(made.write_folder(tmp_path), val_fraction=0.0)
    assert data.class_names == ("cat", "dog") and data.input_shape == (3, 8, 8)
    assert data.train.labels.tolist() == data.test.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert data.train.indices.tolist() == [0, 1, 2, 3, 4, 5] and data.val is None
    with Image.open(tmp_path / "train" / "dog" / "1.png") as image:
        assert np.array_equal(data.train.inputs[4].permute(1, 2, 0).numpy(), np.asarray(image))
    assert data.augmentation == Augmentation(padding=1, flip=True)
    assert load(tmp_path, augment=False).augmentation is None


def test_a_folder_below_the_root_is_found(tmp_path):
    made.write_folder(tmp_path / "pets")
    assert len(load(tmp_path, folder="pets").test) == 6


def test_images_are_decoded_once(tmp_path):
    made.write_folder(tmp_path)
    first = load(tmp_path)
    path = tmp_path / "train" / "cat" / "0.png"
    path.write_bytes(bytes(path.stat().st_size))  # name and size remain
    again = load(tmp_path)
    assert torch.equal(first.train.inputs, again.train.inputs)


def test_another_image_size_or_other_files_are_decoded_anew(tmp_path):
    made.write_folder(tmp_path)
    load(tmp_path)
    assert load(tmp_path, image_size=4).input_shape == (3, 4, 4)
    made.write_image(tmp_path / "train" / "cat" / "7.png")
    more = load(tmp_path)
    assert len(more.train) + len(more.val) == 7


def test_val_serves_as_test_where_there_is_no_test(tmp_path):
    made.write_folder(tmp_path, ("train", "val"))
    assert len(load(tmp_path).test) == 6


def test_of_test_and_val_one_must_be_chosen(tmp_path):
    made.write_folder(tmp_path, ("train", "test", "val"))
    with pytest.raises(ValueError, match="test_folder: .* has both, choose dataset.test_folder="):
        load(tmp_path)
    assert len(load(tmp_path, test_folder="val").test) == 6


def test_a_folder_without_a_test_part_is_refused(tmp_path):
    made.write_folder(tmp_path, ("train",))
    with pytest.raises(FileNotFoundError, match=f"no test/ or val/ in {tmp_path}, which has train"):
        load(tmp_path)


def test_classes_of_one_part_only_are_named(tmp_path):
    made.write_folder(tmp_path)
    made.write_image(tmp_path / "train" / "emu" / "0.png")
    with pytest.raises(ValueError, match="train and test have different classes: .* has emu"):
        load(tmp_path)


def test_a_folder_of_one_class_and_one_image_is_a_data_set(tmp_path):
    for part in ("train", "test"):
        made.write_image(tmp_path / part / "only" / "0.jpeg")
    data = load(tmp_path, val_fraction=0.0)
    assert len(data.train) == 1 and data.num_classes == 1


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("image_size", 0, "must be at least 1, or null, got 0"),
        ("mean", [0.5], r"must be 3 numbers, one per channel, got \[0.5\]"),
        ("std", [0.5, 0.5], r"must be 3 positive numbers, one per channel, got \[0.5, 0.5\]"),
        ("std", [0.5, 0.5, 0.0], "must be 3 positive numbers"),
        ("val_fraction", 2, r"must be in \[0, 1\), got 2"),
    ],
)
def test_a_value_outside_its_range_is_refused_by_name(name, value, message):
    with pytest.raises(ValueError, match=f"^{name}: {message}"):
        ImageFolder(**{name: value})


@pytest.mark.skipif("DATA_ROOT" not in os.environ, reason="DATA_ROOT is not set")
def test_the_jpeg_copy_of_cifar10_is_listed_and_decoded_as_by_torchvision():
    from isthmus.data.torchvision_import import datasets

    base = Path(os.environ["DATA_ROOT"]) / "cifar10-jpeg"
    expected = datasets().ImageFolder(str(base / "test"))
    listing = image_folder.list_images(base, "test")
    assert list(listing.class_names) == expected.classes and len(expected) == 10_000
    assert listing.labels.tolist() == expected.targets
    some = slice(None, None, 97)
    images = decode(base, listing.files[some], None)
    for position, image in zip(range(0, 10_000, 97), images, strict=True):
        assert np.array_equal(image.permute(1, 2, 0).numpy(), np.asarray(expected[position][0]))


def test_without_a_test_split_its_folder_need_not_be_there(tmp_path):
    made.write_folder(tmp_path / "both")
    made.write_folder(tmp_path / "alone", ("train",))
    without = load(tmp_path / "alone", test=False)
    assert without.test is None
    assert torch.equal(without.train.inputs, load(tmp_path / "both").train.inputs)
    with pytest.raises(FileNotFoundError, match="no test/ or val/"):
        load(tmp_path / "alone")


def test_without_a_test_split_its_images_are_not_read(tmp_path):
    made.write_folder(tmp_path)
    for path in (tmp_path / "test").rglob("*.png"):
        path.write_bytes(b"no image")
    assert load(tmp_path, test=False, unsupervised_labels="rotation").test is None
    with pytest.raises(ValueError, match="cannot be read as an image"):
        load(tmp_path)


def test_a_test_set_alone_can_be_evaluated_and_not_trained_on(tmp_path):
    made.write_folder(tmp_path / "both")
    made.write_folder(tmp_path / "alone", ("test",))
    data, both = load(tmp_path / "alone", unsupervised_labels=None), load(tmp_path / "both")
    assert list(data.splits) == ["test"] and len(data.train) == 0
    assert data.class_names == ("cat", "dog") and data.input_shape == (3, 8, 8)
    assert torch.equal(data.test.inputs, both.test.inputs)
    with pytest.raises(ValueError, match="^dataset: needs a training set"):
        train_batches(data, 2, 0, 0, "cpu")
    with pytest.raises(ValueError, match="^bn: "):
        calibration(data, 4)
    with pytest.raises(FileNotFoundError, match="no train/"):
        load(tmp_path / "alone", test=False)
    with pytest.raises(FileNotFoundError, match="no train/"):
        load(tmp_path / "alone", test_folder="val")


@pytest.mark.parametrize(
    "option",
    [
        {"unsupervised_labels": "rotation"},
        {"random_labels_fraction": 0.5},
        {"blur_factor": 2},
        {"val_fraction": 0.5, "subsample_fraction": 0.5},
    ],
    ids=lambda option: next(iter(option)),
)
def test_options_of_training_data_do_nothing_to_a_test_set_alone(tmp_path, option):
    made.write_folder(tmp_path / "both")
    made.write_folder(tmp_path / "alone", ("test",))
    alone, both = load(tmp_path / "alone", **option), load(tmp_path / "both", **option)
    assert torch.equal(alone.test.inputs, both.test.inputs)
    assert torch.equal(alone.test.labels, both.test.labels)


def test_the_two_spellings_of_a_class_are_one(tmp_path):
    for part, form in (("train", "NFC"), ("test", "NFD")):
        for seed, name in enumerate(("chat", unicodedata.normalize(form, "éléphant"))):
            made.write_image(tmp_path / part / name / "0.png", seed=seed)
    data = load(tmp_path, val_fraction=0.0)
    assert data.class_names == ("chat", unicodedata.normalize("NFC", "éléphant"))
    assert torch.equal(data.train.inputs, data.test.inputs)
