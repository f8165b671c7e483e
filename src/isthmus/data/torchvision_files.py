"""MNIST, Fashion-MNIST, CIFAR-10 and CIFAR-100, in the files that torchvision reads."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from isthmus.data.download import download
from isthmus.data.recipe import ImageRecipe
from isthmus.data.splits import Augmentation, DataSet, Normalization, Split
from isthmus.data.torchvision_import import datasets

# What torchvision raises where files are missing, cut short, or fail their checksum.
UNREADABLE = (RuntimeError, FileNotFoundError, AssertionError, EOFError, ValueError)


@dataclass(frozen=True, kw_only=True)
class MNIST(ImageRecipe):
    """60,000 + 10,000 handwritten digits of 28x28 pixels in ten classes (LeCun et al., 1998).

    `augment` crops from 2 pixels of padding and never flips.
    """

    def read(self) -> DataSet:
        return read(
            self,
            belongs="MNIST/raw/train-images-idx3-ubyte",
            normalization=Normalization((0.1307,), (0.3081,)),
            augmentation=Augmentation(padding=2),
        )


@dataclass(frozen=True, kw_only=True)
class FashionMNIST(ImageRecipe):
    """60,000 + 10,000 pictures of clothes of 28x28 pixels in ten classes (Xiao et al., 2017).

    `augment` crops from 2 pixels of padding and flips.
    """

    def read(self) -> DataSet:
        return read(
            self,
            belongs="FashionMNIST/raw/train-images-idx3-ubyte",
            normalization=Normalization((0.2860,), (0.3530,)),
            augmentation=Augmentation(padding=2, flip=True),
        )


@dataclass(frozen=True, kw_only=True)
class CIFAR10(ImageRecipe):
    """50,000 + 10,000 photographs of 32x32 pixels in ten classes (Krizhevsky, 2009).

    `augment` crops from 4 pixels of padding and flips (He et al., 2016). The padding is black: it
    comes before normalization, as torchvision pads an image.
    """

    augment: bool = True

    def read(self) -> DataSet:
        return read(
            self,
            belongs="cifar-10-batches-py/data_batch_1",
            normalization=Normalization((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
            augmentation=Augmentation(padding=4, flip=True),
        )


@dataclass(frozen=True, kw_only=True)
class CIFAR100(ImageRecipe):
    """50,000 + 10,000 photographs of 32x32 pixels in 100 classes (Krizhevsky, 2009).

    `augment` as for CIFAR-10.
    """

    augment: bool = True

    def read(self) -> DataSet:
        return read(
            self,
            belongs="cifar-100-python/train",
            normalization=Normalization((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
            augmentation=Augmentation(padding=4, flip=True),
        )


def read(
    recipe: ImageRecipe, belongs: str, normalization: Normalization, augmentation: Augmentation
) -> DataSet:
    """Read the torchvision data set with the name of the recipe's class, downloaded if necessary.

    Args:
        recipe: whose class name and root are used.
        belongs: one of the files below the root, for the message.
        normalization: of the result.
        augmentation: of the result.

    Raises:
        ValueError: no root is given.
        FileNotFoundError: the files are not there and cannot be downloaded.
    """
    name = type(recipe).__name__
    if recipe.root is None:
        raise ValueError(f"root: must be the folder that has {name}, got null")
    root = Path(recipe.root).expanduser()
    reader = getattr(datasets(), name)

    def attempt() -> tuple[Any, Any] | None:
        try:
            return reader(root, train=True), reader(root, train=False) if recipe.test else None
        except UNREADABLE:
            return None

    parts = attempt() or download(name, root, belongs, attempt, make_fetch(reader))
    train, test = parts
    return DataSet(
        train=to_split(train),
        val=None,
        test=None if test is None else to_split(test),
        class_names=tuple(train.classes),
        normalization=normalization,
        augmentation=augmentation,
    )


def make_fetch(reader: Callable[..., Any]) -> Callable[[Path], None]:
    """A function that downloads the files of a torchvision data set into a folder."""

    def fetch(folder: Path) -> None:
        reader(folder, train=True, download=True)

    return fetch


def to_split(part: Any) -> Split:
    """Convert a torchvision data set in memory to tensors."""
    images = torch.as_tensor(part.data)
    if images.ndim == 3:
        images = images.unsqueeze(1)  # (examples, 1, height, width)
    else:
        images = images.permute(0, 3, 1, 2).contiguous()  # (examples, channels, height, width)
    labels = torch.as_tensor(part.targets).long()
    return Split(images, labels, torch.arange(len(labels)))
