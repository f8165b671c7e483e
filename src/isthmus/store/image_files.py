"""Listing of the image files in a folder: which are read, which ignored."""

import os
import unicodedata
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

EXTENSIONS = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")


class ImageFile(NamedTuple):
    """One image; images are ordered by these values.

    Args:
        name: path relative to the folder of the data set, in Unicode's composed form (NFC), so that
            a copy made by a system that decomposes letters with accents is the same folder.
        path: as it is stored.
        size: in bytes.
    """

    name: str
    path: str
    size: int


@dataclass(frozen=True)
class ImagePart:
    """The images in `part/<class>/` and below.

    Args:
        images: by class, whose names are in Unicode's composed form; sorted, both.
        ignored: how many files are not read, by ending.
    """

    images: dict[str, list[ImageFile]]
    ignored: Counter[str]


def read_part(base: Path, part: str) -> ImagePart:
    """The images of one part of a data set, by class; extensions in any case.

    Ignored are files of other endings, images that are in no folder of a class, and what `scan`
    ignores.

    Raises:
        OSError: a folder is not there, or must not be read.
        ValueError: a folder contains itself, or a file with an image's name is no regular file.
    """
    images: dict[str, list[ImageFile]] = {}
    ignored: Counter[str] = Counter()
    for entry in scan(base / part):
        if entry.is_dir():
            path = f"{part}/{entry.name}"
            images.setdefault(compose_name(entry.name), []).extend(
                images_below(base, path, ignored)
            )
        else:
            ignored[f"{_ending(entry.name)} in no folder of a class"] += 1
    return ImagePart({name: sorted(images[name]) for name in sorted(images)}, ignored)


def images_below(base: Path, path: str, ignored: Counter[str]) -> list[ImageFile]:
    """The images in or below the folder `base/path`, sorted.

    Args:
        base: folder of the data set.
        path: of a folder in it, relative to `base`.
        ignored: the endings of other files are counted here.

    Raises:
        OSError: a folder is not there, or must not be read.
        ValueError: a folder contains itself, or a file with an image's name is no regular file.
    """
    around = frozenset(_identity(base / parent) for parent in Path(path).parents)
    return sorted(_list_below(base, path, ignored, around))


def _list_below(
    base: Path, path: str, ignored: Counter[str], around: frozenset[tuple[int, int]]
) -> list[ImageFile]:
    """Args: around: device and inode of each folder that this one is in."""
    entries = scan(base / path)
    folder = _identity(base / path)
    if folder in around:
        raise ValueError(f"{base / path} leads back to a folder that it is in; remove this link")
    images: list[ImageFile] = []
    for entry in entries:
        below = f"{path}/{entry.name}"
        if entry.is_dir():
            images += _list_below(base, below, ignored, around | {folder})
        elif not entry.name.lower().endswith(EXTENSIONS):
            ignored[_ending(entry.name)] += 1
        else:
            size = entry.stat().st_size  # a link to nothing is an error that names it
            if not entry.is_file():  # to open a FIFO would wait for whoever writes into it
                raise ValueError(f"{base / below} is no regular file, but a FIFO or a device")
            images.append(ImageFile(compose_name(below), below, size))
    return images


def _identity(folder: Path) -> tuple[int, int]:
    """Device and inode, which are the same for a folder and a link to it."""
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def parts_for_test(base: Path, test_folder: str | None) -> list[str]:
    """The parts that can be the test set: `test_folder`, else `test` and `val`.

    Only existing ones.
    """
    names = ("test", "val") if test_folder is None else (test_folder,)
    return [name for name in names if (base / name).is_dir()]


def scan(folder: Path) -> list[os.DirEntry[str]]:
    """Entries of a folder, without hidden ones and those that belong to the file system.

    Raises:
        FileNotFoundError: it does not exist; the message lists the content of its parent.
    """
    try:
        with os.scandir(folder) as entries:
            return [
                entry
                for entry in entries
                if not entry.name.startswith(".") and entry.name != "lost+found"
            ]
    except FileNotFoundError:
        raise FileNotFoundError(
            f"no folder {folder}: {folder.parent} {folder_contents(folder.parent)}"
        ) from None


def folder_contents(folder: Path) -> str:
    """Text that lists up to ten entries of a folder, for a message."""
    if not folder.is_dir():
        return "does not exist"
    names = sorted(entry.name for entry in folder.iterdir())
    listing = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
    return f"has {listing}" if names else "is empty"


def compose_name(name: str) -> str:
    """A name in Unicode's composed form; macOS may store "é" as "e" and an accent."""
    return unicodedata.normalize("NFC", name)


def _ending(name: str) -> str:
    return os.path.splitext(name)[1].lower() or "without ending"
