"""Data set of a folder of images: lists the files by class, decodes them into memory."""

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

from isthmus.data.decoding import cache_decoded, decode
from isthmus.data.recipe import ImageRecipe, check_option
from isthmus.data.splits import Augmentation, DataSet, Normalization, Split, without_examples
from isthmus.store import image_files
from isthmus.store.image_files import EXTENSIONS, ImageFile, folder_contents, parts_for_test

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Listing:
    """The image files of one split, ordered by class and then by path.

    Args:
        files: (examples,) paths relative to the folder of the data set, as bytes.
        sizes: (examples,) in bytes.
        labels: (examples,) int64, indices into `class_names`.
        class_names: sorted, in Unicode's composed form (NFC).
        ignored: number of other files, which are not read, by ending.
    """

    files: np.ndarray
    sizes: np.ndarray
    labels: Tensor
    class_names: tuple[str, ...]
    ignored: Counter[str] = field(default_factory=Counter)


def list_images(folder: Path, part: str) -> Listing:
    """List all images in `folder/part/<class>/` and below; extensions in any case.

    Raises:
        FileNotFoundError: there is no such folder, no class in it, or no image in a class.
        OSError: a folder must not be read.
        ValueError: a folder contains itself, or a file with an image's name is no regular file.
    """
    listed = image_files.read_part(folder, part)
    if not listed.images:
        raise FileNotFoundError(f"{folder / part} has no folder of a class: {part}/<class>/<image>")
    images: list[ImageFile] = []
    labels: list[int] = []
    for label, (name, class_images) in enumerate(listed.images.items()):
        if not class_images:
            raise FileNotFoundError(f"{folder / part / name} has no image ({' '.join(EXTENSIONS)})")
        images += class_images
        labels += [label] * len(class_images)
    return Listing(
        *listing_arrays(images), torch.tensor(labels), tuple(listed.images), listed.ignored
    )


def listing_arrays(images: Sequence[ImageFile]) -> tuple[np.ndarray, np.ndarray]:
    """Arrays of the paths, as bytes, and of the sizes."""
    files = np.array([os.fsencode(image.path) for image in images])
    return files, np.array([image.size for image in images])


def report_ignored(base: Path, *listings: Listing | None) -> None:
    """Log how many files of a data set are not read, by ending, if there are any."""
    counts = sum((listing.ignored for listing in listings if listing is not None), Counter())
    if counts:
        text = ", ".join(f"{count} {ending}" for ending, count in counts.most_common())
        log.info("not read in %s: %s (images are %s)", base, text, " ".join(EXTENSIONS))


def check_same_classes(train: Listing | None, test: Listing, test_part: str) -> None:
    """Refuse training and test splits of different classes.

    Raises:
        ValueError: a class is in one of them only.
    """
    if train is None:
        return
    differing = sorted(set(train.class_names) ^ set(test.class_names))
    if not differing:
        return
    names = ", ".join(differing[:10]) + (", ..." if len(differing) > 10 else "")
    raise ValueError(f"train and {test_part} have different classes: only one of them has {names}")


def listing_fingerprint(*listings: Listing) -> str:
    """16 hexadecimal digits that name the files of listings by their paths and sizes."""
    digest = hashlib.blake2b(digest_size=8)
    for listing in listings:
        for file, size in zip(listing.files.tolist(), listing.sizes.tolist(), strict=True):
            digest.update(b"%s\0%d\n" % (file, size))
    return digest.hexdigest()


def locate_folder(root: str | None, folder: str, *choices: tuple[str, ...]) -> Path:
    """The folder `root/folder` of a data set, checked for its parts.

    Args:
        root: as typed.
        folder: name below `root`, empty if `root` is the folder itself.
        choices: names of folders that must be in it, such as ("train", "val"); if not all of these,
            then all of the next choice.

    Raises:
        ValueError: no root is given.
        FileNotFoundError: it has not all the parts of any choice.
    """
    if root is None:
        raise ValueError("root: must be the folder that has the images, got null")
    base = Path(root).expanduser().absolute()
    if _has_parts(base / folder, choices):
        return base / folder
    wanted = " and ".join(f"{part}/" for part in choices[0])
    message = f"no {wanted} in {base / folder}, which {folder_contents(base / folder)}"
    if folder and _has_parts(base, choices):
        raise FileNotFoundError(f"{message}; {base} has them: add dataset.folder=''")
    raise FileNotFoundError(f"{message}; name the folder with dataset.root=FOLDER")


def _has_parts(folder: Path, choices: Sequence[tuple[str, ...]]) -> bool:
    return any(all((folder / part).is_dir() for part in parts) for parts in choices)


FORMAT = 2  # version of the cache, raised when decoding changes


@dataclass(frozen=True, kw_only=True)
class ImageFolder(ImageRecipe):
    """Images in `train/<class>/` and `test/<class>/` (or `val/<class>/`).

    Every image is decoded once to RGB in 8 bits (`decoding.open_image` says how), gray ones too,
    and kept in `cache_dir` as one tensor. Labels are the indices of the class folders in sorted
    order. `augment` crops from a padding of an eighth of the side (4 pixels of 32) and flips. A
    folder without `train/` can be evaluated, but not trained on.

    Args:
        folder: name of the folder below `root`; empty if `root` is the folder itself.
        test_folder: name of the folder that is the test set, such as "test" or "val"; null for the
            one of these two that exists.
        image_size: side in pixels that the central square of every image is resized to; null if
            all images have one size already.
        mean: of each channel, for values in [0, 1].
        std: of each channel, for values in [0, 1].
        cache_dir: folder for decoded images.
        fingerprint: of the files in the folder, for a run's name. Changes nothing else.
    """

    augment: bool = True
    folder: str = ""
    test_folder: str | None = None
    image_size: int | None = None
    mean: list[float] = field(default_factory=lambda: [0.485, 0.456, 0.406])
    std: list[float] = field(default_factory=lambda: [0.229, 0.224, 0.225])
    cache_dir: str = "outputs/cache"
    fingerprint: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_images(self.image_size, self.mean, self.std)

    def read(self) -> DataSet:
        tests = ("test", "val") if self.test_folder is None else (self.test_folder,)
        test_only = [(part,) for part in tests] if self.test else []
        base = locate_folder(self.root, self.folder, ("train",), *test_only)
        train = list_images(base, "train") if (base / "train").is_dir() else None
        test = None
        if self.test:
            part = self.test_folder or choose_test_folder(base)
            test = list_images(base, part)
            check_same_classes(train, test, part)
        report_ignored(base, train, test)
        normalization = Normalization(tuple(self.mean), tuple(self.std))
        return decode_images(base, train, test, self.image_size, normalization, self.cache_dir)


def decode_images(
    base: Path,
    train: Listing | None,
    test: Listing | None,
    image_size: int | None,
    normalization: Normalization,
    cache_dir: str,
) -> DataSet:
    """Decode image files into a data set, or read it from the cache if they were decoded before.

    Args:
        base: folder that the listings are relative to.
        train: files of the training set, or None.
        test: files of the test set, of the same classes, or None; at least one of both is given.
        image_size: as in `decode`.
        normalization: of the result.
        cache_dir: folder for decoded images.
    """
    named = {"train": train, "test": test}
    listings = {name: listing for name, listing in named.items() if listing is not None}
    images = cache_decoded(
        cache_dir,
        f"images_{listing_fingerprint(*listings.values())}_{image_size or 'stored'}_{FORMAT}",
        lambda: {name: decode(base, part.files, image_size) for name, part in listings.items()},
    )
    splits = {
        name: Split(images[name], part.labels, torch.arange(len(part.labels)))
        for name, part in listings.items()
    }
    some = next(iter(splits))
    side = min(images[some].shape[2:])
    return DataSet(
        train=splits["train"] if train else without_examples(splits["test"]),
        val=None,
        test=splits.get("test"),
        class_names=listings[some].class_names,
        normalization=normalization,
        augmentation=Augmentation(padding=side // 8, flip=True),
    )


def choose_test_folder(base: Path) -> str:
    """The one of `test` and `val` that is in a folder.

    Raises:
        FileNotFoundError: neither is there.
        ValueError: both are.
    """
    parts = parts_for_test(base, None)
    if not parts:
        raise FileNotFoundError(f"no test/ or val/ in {base}, which {folder_contents(base)}")
    if len(parts) == 2:
        raise ValueError(f"test_folder: {base} has both, choose dataset.test_folder=test or val")
    return parts[0]


def check_images(image_size: int | None, mean: list[float], std: list[float]) -> None:
    """Refuse invalid options of images.

    Raises:
        ValueError: naming the option.
    """
    if image_size is not None:
        check_option("image_size", image_size, image_size >= 1, "at least 1, or null")
    check_option("mean", mean, len(mean) == 3, "3 numbers, one per channel")
    positive = len(std) == 3 and all(value > 0 for value in std)
    check_option("std", std, positive, "3 positive numbers, one per channel")
