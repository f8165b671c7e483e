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


def names(listing):
    return [os.fsdecode(file) for file in listing.files]


def test_images_are_listed_by_class_and_name_with_their_sizes(tmp_path):
    for path in ("b/2.png", "b/10.PNG", "b/deep/er/1.jpeg", "a-b/x.JPG", "a/y.bmp", "a/z.webp"):
        made.write_image(tmp_path / "train" / path)
    (tmp_path / "train" / "a" / "notes.txt").write_text("no image")
    (tmp_path / "train" / "a" / ".hidden.png").write_text("no image")
    (tmp_path / "train" / "readme.md").write_text("no class")
    listing = image_folder.list_images(tmp_path, "train")
    assert listing.class_names == ("a", "a-b", "b")
    assert names(listing) == [
        "train/a/y.bmp",
        "train/a/z.webp",
        "train/a-b/x.JPG",
        "train/b/10.PNG",
        "train/b/2.png",
        "train/b/deep/er/1.jpeg",
    ]
    assert listing.labels.tolist() == [0, 0, 1, 2, 2, 2]
    assert listing.sizes.tolist() == [os.path.getsize(tmp_path / name) for name in names(listing)]


def test_a_name_that_is_not_ascii_is_kept(tmp_path):
    made.write_image(tmp_path / "train" / "chat" / "été 1.png")
    assert names(image_folder.list_images(tmp_path, "train")) == ["train/chat/été 1.png"]


def test_a_missing_folder_is_named_with_what_is_there(tmp_path):
    (tmp_path / "test").mkdir()
    with pytest.raises(FileNotFoundError, match=f"no folder {tmp_path}/train: .* has test"):
        image_folder.list_images(tmp_path, "train")


def test_a_folder_without_classes_or_a_class_without_images_is_named(tmp_path):
    (tmp_path / "train").mkdir()
    with pytest.raises(FileNotFoundError, match="train has no folder of a class: train/<class>"):
        image_folder.list_images(tmp_path, "train")
    (tmp_path / "train" / "cat").mkdir()
    with pytest.raises(FileNotFoundError, match=r"train/cat has no image \(.bmp .gif"):
        image_folder.list_images(tmp_path, "train")


def test_splits_of_different_classes_are_refused_naming_them(tmp_path):
    made.write_folder(tmp_path)
    made.write_image(tmp_path / "test" / "emu" / "0.png")
    train, test = (image_folder.list_images(tmp_path, part) for part in ("train", "test"))
    image_folder.check_same_classes(train, train, "train")
    with pytest.raises(ValueError, match="train and test have different classes: .* has emu"):
        image_folder.check_same_classes(train, test, "test")


def test_a_fingerprint_depends_on_names_and_sizes_alone(tmp_path):
    def of(folder):
        return image_folder.listing_fingerprint(image_folder.list_images(folder, "train"))

    first = made.write_folder(tmp_path / "first")
    again = made.write_folder(tmp_path / "again")
    os.utime(again / "train" / "cat" / "0.png", (1, 1))
    assert of(first) == of(again) and len(of(first)) == 16
    path = again / "train" / "cat" / "0.png"
    path.rename(path.with_name("9.png"))
    assert of(first) != of(again)
    path.with_name("9.png").rename(path)
    assert of(first) == of(again)
    path.write_bytes(path.read_bytes() + b"\0")
    assert of(first) != of(again)


def test_a_folder_is_found_below_the_root(tmp_path):
    made.write_folder(tmp_path / "pets")
    assert image_folder.locate_folder(str(tmp_path), "pets", ("train", "test")) == tmp_path / "pets"
    assert image_folder.locate_folder(str(tmp_path / "pets"), "", ("train",)) == tmp_path / "pets"


def test_a_root_that_is_the_folder_itself_is_told_how_to_say_so(tmp_path):
    made.write_folder(tmp_path)
    message = f"no train/ in {tmp_path}/pets, which does not exist; {tmp_path} has them: "
    with pytest.raises(FileNotFoundError, match=message + "add dataset.folder=''"):
        image_folder.locate_folder(str(tmp_path), "pets", ("train",))


def test_a_folder_without_its_parts_is_named_with_what_it_has(tmp_path):
    (tmp_path / "test").mkdir()
    message = f"no train/ and val/ in {tmp_path}, which has test; name the folder with dataset.root"
    with pytest.raises(FileNotFoundError, match=message):
        image_folder.locate_folder(str(tmp_path), "", ("train", "val"))
    with pytest.raises(ValueError, match="root: must be the folder that has the images"):
        image_folder.locate_folder(None, "", ("train",))


def test_one_of_several_sets_of_parts_is_enough(tmp_path):
    (tmp_path / "test").mkdir()
    assert (
        image_folder.locate_folder(str(tmp_path), "", ("train",), ("val",), ("test",)) == tmp_path
    )
    with pytest.raises(FileNotFoundError, match="no train/ in .*, which has test;"):
        image_folder.locate_folder(str(tmp_path), "", ("train",), ("val",))


def test_what_is_not_read_is_said_once_by_ending(tmp_path, caplog):
    made.write_folder(tmp_path)
    listing = image_folder.list_images(tmp_path, "train")
    with caplog.at_level("INFO"):
        image_folder.report_ignored(tmp_path, listing, None)
    assert caplog.messages == []
    for name in ("train/cat/1.heic", "train/dog/2.heic", "test/dog/3.heic", "test/dog/4.txt"):
        (tmp_path / name).write_text("")
    listings = [image_folder.list_images(tmp_path, part) for part in ("train", "test")]
    with caplog.at_level("INFO"):
        image_folder.report_ignored(tmp_path, *listings)
    (message,) = caplog.messages
    assert "3 .heic, 1 .txt" in message
