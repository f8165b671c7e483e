"""Digests of the content of a file, or of a folder of images, for names of runs."""

import functools
import hashlib
import os
from pathlib import Path

from isthmus.store import image_files

ABSENT = "absent"  # there is no such file or folder
UNREADABLE = "unreadable"  # the code that reads the folder raises the error


@functools.cache
def folder_fingerprint(root: str, test: bool = True, test_folder: str | None = None) -> str:
    """Ten hexadecimal digits that name the images of a data set by relative path and size.

    Exactly the images that are read are counted. None is opened, so that a folder of 60,000 takes a
    fraction of a second: an image whose content changes while its size does not goes unnoticed.

    Args:
        root: the folder, `~` for home.
        test: whether the test set is read.
        test_folder: the part that is the test set, None for the one of `test` and `val` there is.

    Returns:
        The digits, or ABSENT, or UNREADABLE.
    """
    base = Path(os.path.expanduser(root))
    if not os.path.isdir(base):
        return ABSENT
    try:
        parts = ["train"] if (base / "train").is_dir() else []
        parts += image_files.parts_for_test(base, test_folder) if test else []
        image_lists = [image_files.read_part(base, part).images.values() for part in parts]
    except (OSError, ValueError):
        return UNREADABLE
    images = (image for classes in image_lists for images in classes for image in images)
    digest = hashlib.blake2b(digest_size=5)
    for line in sorted(f"{image.name} {image.size}\n" for image in images):
        digest.update(os.fsencode(line))  # a name need not be UTF-8
    return digest.hexdigest()


def file_digest(path: str | None) -> str | None:
    """Ten hexadecimal digits that name the content of a file, which is read.

    Args:
        path: of the file; None has no fingerprint, and a path that is no file has "absent".
    """
    if path is None:
        return None
    if not os.path.isfile(path):
        return ABSENT
    with open(path, "rb") as content:
        return hashlib.blake2b(content.read(), digest_size=5).hexdigest()
