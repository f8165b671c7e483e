"""Folders of images small enough for memory."""

from dataclasses import dataclass, field
from pathlib import Path

import torch

from isthmus.data.decoding import cached, decode
from isthmus.data.files import (
    Listing,
    fingerprint,
    list_images,
    locate,
    report_ignored,
    same_classes,
)
from isthmus.data.recipe import Recipe, check
from isthmus.data.splits import Augmentation, DataSet, Normalization, Split, without_examples
from isthmus.image_files import contents, parts_for_test

FORMAT = 2  # of the cache: counts up when decoding changes


@dataclass(frozen=True, kw_only=True)
class ImageFolder(Recipe):
    """Images in `train/<class>/` and `test/<class>/` (or `val/<class>/`).

    Every image is decoded once to RGB in 8 bits (`decoding.open_image` says how), gray ones too,
    and kept in `cache_dir` as one tensor. Labels are the places of the class folders in sorted
    order. `augment` crops from an eighth of the side of padding (4 pixels of 32) and flips. A
    folder that has no `train/` can be evaluated, but not trained on.

    Args:
        folder: name of the folder below `root`; empty if `root` is the folder itself.
        test_folder: name of the folder that is the test set, such as "test" or "val"; null for the
            one of these two that is there.
        image_size: side in pixels that the central square of every image is resized to; null if
            all images have one size already.
        mean: of each channel, for values in [0, 1].
        std: likewise.
        cache_dir: folder for decoded images.
        fingerprint: what lies in the folder, so that a run is named by it. Changes nothing else.
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
        alone = [(part,) for part in tests] if self.test else []
        base = locate(self.root, self.folder, ("train",), *alone)
        train = list_images(base, "train") if (base / "train").is_dir() else None
        test = None
        if self.test:
            part = self.test_folder or choose_test_folder(base)
            test = list_images(base, part)
            same_classes(train, test, part)
        report_ignored(base, train, test)
        normalization = Normalization(tuple(self.mean), tuple(self.std))
        return decoded(base, train, test, self.image_size, normalization, self.cache_dir)


def decoded(
    base: Path,
    train: Listing | None,
    test: Listing | None,
    image_size: int | None,
    normalization: Normalization,
    cache_dir: str,
) -> DataSet:
    """A data set of image files, all decoded, from the cache if they were decoded before.

    Args:
        base: folder that the listings are relative to.
        train: files of the training set, or None.
        test: files of the test set, of the same classes, or None; one of the two is there.
        image_size: as in `decode`.
        normalization: of the result.
        cache_dir: folder for decoded images.
    """
    named = {"train": train, "test": test}
    listings = {name: listing for name, listing in named.items() if listing is not None}
    images = cached(
        cache_dir,
        f"images_{fingerprint(*listings.values())}_{image_size or 'stored'}_{FORMAT}",
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
    there = parts_for_test(base, None)
    if not there:
        raise FileNotFoundError(f"no test/ or val/ in {base}, which {contents(base)}")
    if len(there) == 2:
        raise ValueError(f"test_folder: {base} has both, choose dataset.test_folder=test or val")
    return there[0]


def check_images(image_size: int | None, mean: list[float], std: list[float]) -> None:
    """Refuse options of images that cannot be meant.

    Raises:
        ValueError: naming the option.
    """
    if image_size is not None:
        check("image_size", image_size, image_size >= 1, "at least 1, or null")
    check("mean", mean, len(mean) == 3, "3 numbers, one a channel")
    positive = len(std) == 3 and all(value > 0 for value in std)
    check("std", std, positive, "3 positive numbers, one a channel")
