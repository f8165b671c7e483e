"""Splits and data sets as tensors, and adapting a data set to a network's training."""

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias, TypeVar

import numpy as np
import torch
from torch import Tensor

Loss: TypeAlias = Literal["cross_entropy", "logistic", "squared"]  # see isthmus/training/losses.py


@dataclass(frozen=True, eq=False)
class Split:
    """Examples in memory.

    Args:
        inputs: (examples, channels, height, width) uint8 for images, (examples, features) float32
            for anything else.
        labels: (examples,) int64, the class of each example; float32 where they are numbers.
        indices: (examples,) int64, position of each example in the data set's own train or test
            order. It stays with the example when others are held out, subsampled or shuffled.

    Raises:
        ValueError: the three differ in length.
    """

    inputs: Tensor
    labels: Tensor
    indices: Tensor

    def __post_init__(self) -> None:
        if not len(self.inputs) == len(self.labels) == len(self.indices):
            raise ValueError(
                f"one label and one index per example: {len(self.inputs)} inputs, "
                f"{len(self.labels)} labels, {len(self.indices)} indices"
            )

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(channels, height, width) of an image, or (features,)."""
        return tuple(self.inputs.shape[1:])

    def take(self, positions: Tensor) -> "Split":
        """The examples at `positions` of this split, in that order."""
        return Split(self.inputs[positions], self.labels[positions], self.indices[positions])


@dataclass(frozen=True, eq=False)
class StreamedSplit:
    """Images that stay in their files until a batch needs them.

    Args:
        folder: that `files` are relative to.
        files: (examples,) paths as bytes; an array and not a list, because worker processes would
            copy a list of a million strings just by counting references.
        labels: (examples,) int64.
        indices: (examples,) int64, as in `Split`.
        resize: pixels of the shorter side before the central crop that evaluation takes.
        size: pixels of the side of every decoded image.
        blur_factor: decoded images are blurred by this factor, 1 for none.
        quarter_turns: (examples,) int64, rotations of each decoded image by 90 degrees.
    """

    folder: str
    files: np.ndarray
    labels: Tensor
    indices: Tensor
    resize: int = 256
    size: int = 224
    blur_factor: int = 1
    quarter_turns: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(channels, height, width) of a decoded image."""
        return (3, self.size, self.size)

    def path(self, position: int) -> str:
        """Path of the file of one example."""
        return os.path.join(self.folder, os.fsdecode(self.files[position]))

    def take(self, positions: Tensor) -> "StreamedSplit":
        """The examples at `positions` of this split, in that order."""
        turns = self.quarter_turns
        return replace(
            self,
            files=self.files[positions.numpy()],
            labels=self.labels[positions],
            indices=self.indices[positions],
            quarter_turns=None if turns is None else turns[positions],
        )


AnySplit = TypeVar("AnySplit", Split, StreamedSplit, Split | StreamedSplit)


def without_examples(split: AnySplit) -> AnySplit:
    """An empty split of the same input shape."""
    return split.take(torch.zeros(0, dtype=torch.int64))


@dataclass(frozen=True)
class Normalization:
    """Normalization of stored values to network inputs: (stored / scale - mean) / std.

    Args:
        mean: one per channel, of values in [0, 1]; a single one is for all channels or features.
        std: in the same way.
        scale: the stored value that means 1: 255 in an image, 16 in scikit-learn's digits.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    scale: float = 255.0


@dataclass(frozen=True)
class Augmentation:
    """Augmentation of a training image: a random crop, then a flip, then a cutout.

    Args:
        padding: pixels of black added on every side before a crop of the original size.
        resized_crop: streamed images only: a crop of random area and aspect ratio instead
            (Szegedy et al., 2015), 8 % to 100 % of the image, 3/4 to 4/3.
        flip: mirror left and right with probability 1/2.
        cutout: side in pixels of the square set to the mean (DeVries and Taylor, 2017), 0 for none.
            Its centre is uniform over the image, so that it can stick out.
    """

    padding: int = 0
    resized_crop: bool = False
    flip: bool = False
    cutout: int = 0


@dataclass(frozen=True, eq=False)
class DataSet:
    """A data set ready for training.

    Args:
        train: the training set; empty for a folder with only a test set.
        val: held out from the training set, or None.
        test: never trained on, or None if it is not read.
        class_names: in label order.
        normalization: for every split.
        augmentation: for batches of `train`, or None.
        loss: that networks are trained with; unless it is cross-entropy they have one
            output.
    """

    train: Split | StreamedSplit
    val: Split | StreamedSplit | None
    test: Split | StreamedSplit | None
    class_names: tuple[str, ...]
    normalization: Normalization
    augmentation: Augmentation | None = None
    loss: Loss = "cross_entropy"

    @property
    def num_classes(self) -> int:
        """Number of a network's outputs: one per class, or a single one for two classes."""
        return len(self.class_names) if self.loss == "cross_entropy" else 1

    @property
    def has_accuracy(self) -> bool:
        """Whether labels are classes, so that an output can be right or wrong."""
        return self.loss != "squared"

    def require_train(self, what: str) -> None:
        """Refuse a data set without examples to train on.

        Raises:
            ValueError: begins with `what`, which needs them.
        """
        if not len(self.train):
            raise ValueError(
                f"{what}: needs a training set, and this data set has none: there is no train/ in "
                "its folder"
            )

    def require_accuracy(self, what: str) -> None:
        """Refuse labels that are numbers where accuracies are compared.

        Raises:
            ValueError: begins with `what`, an option as typed or a script.
        """
        if not self.has_accuracy:
            raise ValueError(
                f"{what}: compares accuracies, and a data set whose labels are numbers has none"
            )

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(channels, height, width) of an image, or (features,)."""
        return self.train.input_shape

    @property
    def splits(self) -> dict[str, Split | StreamedSplit]:
        """train, val and test by name; without those that have no examples."""
        splits = {"train": self.train, "val": self.val, "test": self.test}
        return {name: split for name, split in splits.items() if split is not None and len(split)}


log = logging.getLogger(__name__)


def describe_data(data: DataSet) -> dict[str, Any]:
    """The metadata of a data set that is saved with weights trained on it.

    Returns:
        `normalization` {mean, std, scale}, and `classes`, names in label order, where labels are
        classes.
    """
    mean, std, scale = data.normalization.mean, data.normalization.std, data.normalization.scale
    normalization = {"mean": list(mean), "std": list(std), "scale": scale}
    classes = {"classes": list(data.class_names)} if data.has_accuracy else {}
    return {"normalization": normalization, **classes}


def with_classes(data: DataSet, names: Sequence[str]) -> DataSet:
    """A data set relabelled by `names`, the classes of a network in the order of its outputs.

    Args:
        data: whose classes are some of these, in any order.
        names: of the network's classes.

    Raises:
        ValueError: it has another class.
    """
    unknown = [name for name in data.class_names if name not in names]
    if unknown:
        raise ValueError(
            f"dataset: has {_first(unknown)}, which {'is' if len(unknown) == 1 else 'are'} not "
            f"among the classes that these weights were trained on: {_first(names)}"
        )
    if list(data.class_names) == list(names):
        return data
    log.info(
        "dataset: its classes (%s) are mapped by name to those of the training (%s)",
        *(_first(data.class_names), _first(names)),
    )
    new_labels = torch.tensor([list(names).index(name) for name in data.class_names])

    def relabel(split: AnySplit) -> AnySplit:
        return replace(split, labels=new_labels[split.labels])

    return replace(
        data,
        train=relabel(data.train),
        val=None if data.val is None else relabel(data.val),
        test=None if data.test is None else relabel(data.test),
        class_names=tuple(names),
    )


def with_normalization(data: DataSet, mean: Sequence[float], std: Sequence[float]) -> DataSet:
    """A data set with the normalization of a network's training.

    Args:
        data: of values that are stored on the same scale.
        mean: of each channel, or one for all.
        std: of each channel, or one for all.
    """
    normalization = Normalization(tuple(mean), tuple(std), data.normalization.scale)
    if normalization == data.normalization:
        return data
    log.info("dataset: normalized as in training, by mean %s and std %s", list(mean), list(std))
    return replace(data, normalization=normalization)


def _first(names: Sequence[str], count: int = 10) -> str:
    return ", ".join(names[:count]) + (", ..." if len(names) > count else "")
