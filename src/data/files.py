"""Images sorted into one folder a class: which there are, and what tells such folders apart."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

EXTENSIONS = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")


@dataclass(frozen=True, eq=False)
class Listing:
    """The image files of one split, ordered by class and then by path.

    Args:
        files: (examples,) paths relative to the folder of the data set, as bytes.
        sizes: (examples,) in bytes.
        labels: (examples,) int64, places in `class_names`.
        class_names: sorted.
    """

    files: np.ndarray
    sizes: np.ndarray
    labels: Tensor
    class_names: tuple[str, ...]


def list_images(folder: Path, part: str) -> Listing:
    """All images in `folder/part/<class>/`, and below, whatever the case of their extension.

    Files that are no images, by their extension, are left out.

    Raises:
        FileNotFoundError: there is no such folder, no class in it, or no image in a class.
    """
    classes = sorted(entry.name for entry in scan(folder / part) if entry.is_dir())
    if not classes:
        raise FileNotFoundError(f"{folder / part} has no folder of a class: {part}/<class>/<image>")
    found: list[tuple[str, int]] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        images = images_below(folder / part / name, f"{part}/{name}")
        if not images:
            raise FileNotFoundError(f"{folder / part / name} has no image ({' '.join(EXTENSIONS)})")
        found += images
        labels += [label] * len(images)
    return Listing(*columns(found), torch.tensor(labels), tuple(classes))


def images_below(folder: Path, name: str) -> list[tuple[str, int]]:
    """Path, beginning with `name`, and size in bytes of each image in or below `folder`, sorted."""
    found: list[tuple[str, int]] = []
    for entry in scan(folder):
        path = f"{name}/{entry.name}"
        if entry.is_dir():
            found += images_below(folder / entry.name, path)
        elif entry.name.lower().endswith(EXTENSIONS):
            found.append((path, entry.stat().st_size))
    return sorted(found)


def columns(found: list[tuple[str, int]]) -> tuple[np.ndarray, np.ndarray]:
    """Paths as bytes, and sizes, as one array each."""
    files = np.array([os.fsencode(path) for path, _ in found])
    return files, np.array([size for _, size in found])


def scan(folder: Path) -> list[os.DirEntry[str]]:
    """Everything in a folder but hidden files.

    Raises:
        FileNotFoundError: it does not exist; what its parent has is said.
    """
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
    except FileNotFoundError:
        raise FileNotFoundError(
            f"no folder {folder}: {folder.parent} {contents(folder.parent)}"
        ) from None


def same_classes(train: Listing, test: Listing, test_part: str) -> None:
    """Refuse splits of different classes.

    Raises:
        ValueError: a class is in one of them only.
    """
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


def locate(root: str | None, folder: str, parts: tuple[str, ...]) -> Path:
    """The folder `root/folder` of a data set.

    Args:
        root: as typed.
        folder: name below `root`, empty if `root` is the folder itself.
        parts: what must be in it, such as ("train", "val").

    Raises:
        ValueError: no root is given.
        FileNotFoundError: it does not have all the parts.
    """
    if root is None:
        raise ValueError("root: must be the folder that the images lie in, got null")
    base = Path(root).expanduser().absolute()
    if all((base / folder / part).is_dir() for part in parts):
        return base / folder
    wanted = " and ".join(f"{part}/" for part in parts)
    message = f"no {wanted} in {base / folder}, which {contents(base / folder)}"
    if folder and all((base / part).is_dir() for part in parts):
        raise FileNotFoundError(f"{message}; {base} has them: add dataset.folder=''")
    raise FileNotFoundError(f"{message}; name the folder with dataset.root=FOLDER")


def contents(folder: Path) -> str:
    """What is in a folder, in words."""
    if not folder.is_dir():
        return "does not exist"
    names = sorted(entry.name for entry in folder.iterdir())
    shown = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
    return f"has {shown}" if names else "is empty"
