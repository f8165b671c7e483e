"""Images sorted into one folder a class: which there are, and what tells such folders apart."""

import hashlib
import logging
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from isthmus import image_files
from isthmus.image_files import EXTENSIONS, ImageFile, contents

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Listing:
    """The image files of one split, ordered by class and then by path.

    Args:
        files: (examples,) paths relative to the folder of the data set, as bytes.
        sizes: (examples,) in bytes.
        labels: (examples,) int64, places in `class_names`.
        class_names: sorted, in Unicode's composed form (NFC).
        ignored: how many files beside them are not read, by ending.
    """

    files: np.ndarray
    sizes: np.ndarray
    labels: Tensor
    class_names: tuple[str, ...]
    ignored: Counter[str] = field(default_factory=Counter)


def list_images(folder: Path, part: str) -> Listing:
    """All images in `folder/part/<class>/`, and below, whatever the case of their extension.

    Raises:
        FileNotFoundError: there is no such folder, no class in it, or no image in a class.
        OSError: a folder must not be read.
        ValueError: a folder contains itself, or a file with an image's name is no regular file.
    """
    found = image_files.read_part(folder, part)
    if not found.images:
        raise FileNotFoundError(f"{folder / part} has no folder of a class: {part}/<class>/<image>")
    images: list[ImageFile] = []
    labels: list[int] = []
    for label, (name, of_class) in enumerate(found.images.items()):
        if not of_class:
            raise FileNotFoundError(f"{folder / part / name} has no image ({' '.join(EXTENSIONS)})")
        images += of_class
        labels += [label] * len(of_class)
    return Listing(*columns(images), torch.tensor(labels), tuple(found.images), found.ignored)


def columns(images: Sequence[ImageFile]) -> tuple[np.ndarray, np.ndarray]:
    """Paths as bytes, and sizes, as one array each."""
    files = np.array([os.fsencode(image.path) for image in images])
    return files, np.array([image.size for image in images])


def report_ignored(base: Path, *listings: Listing | None) -> None:
    """Say how many files of a data set are not read, by ending, if there are any."""
    counts = sum((listing.ignored for listing in listings if listing is not None), Counter())
    if counts:
        text = ", ".join(f"{count} {ending}" for ending, count in counts.most_common())
        log.info("not read in %s: %s (images are %s)", base, text, " ".join(EXTENSIONS))


def same_classes(train: Listing | None, test: Listing, test_part: str) -> None:
    """Refuse splits of different classes; a test set alone has those that it has.

    Raises:
        ValueError: a class is in one of them only.
    """
    if train is None:
        return
    differing = sorted(set(train.class_names) ^ set(test.class_names))
    if not differing:
        return
    shown = ", ".join(differing[:10]) + (", ..." if len(differing) > 10 else "")
    raise ValueError(f"train and {test_part} have different classes: only one of them has {shown}")


def fingerprint(*listings: Listing) -> str:
    """16 hexadecimal digits that depend on names and sizes of files, and on nothing else."""
    digest = hashlib.blake2b(digest_size=8)
    for listing in listings:
        for file, size in zip(listing.files.tolist(), listing.sizes.tolist(), strict=True):
            digest.update(b"%s\0%d\n" % (file, size))
    return digest.hexdigest()


def locate(root: str | None, folder: str, *choices: tuple[str, ...]) -> Path:
    """The folder `root/folder` of a data set.

    Args:
        root: as typed.
        folder: name below `root`, empty if `root` is the folder itself.
        choices: what must be in it, such as ("train", "val"); if not all of these, then all of the
            next choice.

    Raises:
        ValueError: no root is given.
        FileNotFoundError: it has all the parts of no choice.
    """
    if root is None:
        raise ValueError("root: must be the folder that the images lie in, got null")
    base = Path(root).expanduser().absolute()
    if _has_parts(base / folder, choices):
        return base / folder
    wanted = " and ".join(f"{part}/" for part in choices[0])
    message = f"no {wanted} in {base / folder}, which {contents(base / folder)}"
    if folder and _has_parts(base, choices):
        raise FileNotFoundError(f"{message}; {base} has them: add dataset.folder=''")
    raise FileNotFoundError(f"{message}; name the folder with dataset.root=FOLDER")


def _has_parts(folder: Path, choices: Sequence[tuple[str, ...]]) -> bool:
    return any(all((folder / part).is_dir() for part in parts) for parts in choices)
