import os
import unicodedata
from collections import Counter

import pytest

from isthmus.store import image_files

NFC, NFD = (unicodedata.normalize(form, "éléphant") for form in ("NFC", "NFD"))


def write(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


def names(part):
    return [image.name for images in part.images.values() for image in images]


def test_only_images_in_folders_of_classes_are_read_and_the_others_are_counted(tmp_path):
    write(tmp_path, "train/cat/1.PNG", "train/cat/deep/2.jpg", "train/dog/1.tif")
    write(tmp_path, "train/cat/1.heic", "train/dog/2.HEIC", "train/dog/notes", "train/9.png")
    hidden = ["cat/.DS_Store", "cat/._1.png", ".ipynb_checkpoints/1.png", "lost+found/1.png"]
    write(tmp_path, *(f"train/{name}" for name in hidden), "train/cat/.hidden/1.png")
    part = image_files.read_part(tmp_path, "train")
    assert names(part) == ["train/cat/1.PNG", "train/cat/deep/2.jpg", "train/dog/1.tif"]
    expected = {".heic": 2, "without ending": 1, ".png in no folder of a class": 1}
    assert part.ignored == Counter(expected)


def test_names_are_composed_and_two_spellings_of_a_class_are_one(tmp_path):
    assert NFC != NFD
    write(tmp_path, f"train/{NFD}/2.png", f"train/{NFC}/1.png", f"train/zebra/{NFD}.png")
    part = image_files.read_part(tmp_path, "train")
    assert list(part.images) == ["zebra", NFC]
    assert names(part) == [f"train/zebra/{NFC}.png", f"train/{NFC}/1.png", f"train/{NFC}/2.png"]
    assert all((tmp_path / image.path).is_file() for image in part.images[NFC])


@pytest.mark.parametrize("target", [".", "..", "../.."])
def test_a_folder_that_contains_itself_is_named(tmp_path, target):
    write(tmp_path, "train/cat/1.png")
    (tmp_path / "train/cat/again").symlink_to(target)
    with pytest.raises(ValueError, match="train/cat/again leads back to a folder"):
        image_files.read_part(tmp_path, "train")


def test_a_folder_that_is_linked_twice_is_read_twice(tmp_path):
    write(tmp_path, "train/cat/1.png")
    (tmp_path / "train/dog").symlink_to("cat")
    part = image_files.read_part(tmp_path, "train")
    assert names(part) == ["train/cat/1.png", "train/dog/1.png"]


@pytest.mark.parametrize("target", ["nowhere.png", "b.png"])
def test_a_link_to_nothing_or_to_itself_is_named(tmp_path, target):
    write(tmp_path, "train/cat/1.png")
    (tmp_path / "train/cat/b.png").symlink_to(target)
    with pytest.raises(OSError) as error:
        image_files.read_part(tmp_path, "train")
    assert error.value.filename.endswith("train/cat/b.png")


def test_what_is_no_regular_file_is_named_and_not_opened(tmp_path):
    write(tmp_path, "train/cat/1.png")
    os.mkfifo(tmp_path / "train/cat/2.png")
    with pytest.raises(ValueError, match="train/cat/2.png is no regular file"):
        image_files.read_part(tmp_path, "train")
    (tmp_path / "train/cat/2.png").unlink()
    (tmp_path / "train/cat/2.png").symlink_to("/dev/zero")
    with pytest.raises(ValueError, match="train/cat/2.png is no regular file"):
        image_files.read_part(tmp_path, "train")


def test_the_test_set_is_the_part_named_or_those_that_are_there(tmp_path):
    assert image_files.parts_for_test(tmp_path, None) == []
    write(tmp_path, "val/cat/1.png", "held/cat/1.png")
    assert image_files.parts_for_test(tmp_path, None) == ["val"]
    assert image_files.parts_for_test(tmp_path, "held") == ["held"]
    assert image_files.parts_for_test(tmp_path, "test") == []


def test_contents_are_told_in_words(tmp_path):
    assert image_files.folder_contents(tmp_path / "nowhere") == "does not exist"
    assert image_files.folder_contents(tmp_path) == "is empty"
    for number in range(12):
        (tmp_path / f"{number:02}").touch()
    assert (
        image_files.folder_contents(tmp_path) == "has 00, 01, 02, 03, 04, 05, 06, 07, 08, 09, ..."
    )
