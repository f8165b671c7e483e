import os

import pytest

from isthmus.data import image_folder
from tests.data import made


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
