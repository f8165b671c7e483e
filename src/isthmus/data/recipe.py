"""The options that every data set has, and how they are applied."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Literal

from isthmus.data.options import (
    hold_out,
    subsample,
    with_blur,
    with_random_labels,
    with_rotations,
)
from isthmus.data.splits import Augmentation, DataSet


@dataclass(frozen=True, kw_only=True)
class Recipe(ABC):
    """How to make a data set ready for training; a child class says how it is read.

    Applied in this order, each from a stream of its own: hold out `val`, subsample what is left,
    replace labels by rotations (all splits), randomize labels (train), blur (train).

    Args:
        root: folder that data lies in.
        val_fraction: part of the training set held out as `val`, in [0, 1), rounded up.
        val_seed: which examples.
        augment: crop and flip training images, in the way that suits the data set.
        cutout: side in pixels of the square hidden from training images, 0 for none.
        subsample_fraction: part of the remaining training examples to keep, in (0, 1], rounded up.
        subsample_seed: which examples.
        random_labels_fraction: part of the training labels drawn anew, in [0, 1], rounded up. A new
            label can be the old one. `val` and `test` keep the true labels.
        blur_factor: training images are shrunk by this factor and enlarged again, 1 for no blur.
        test: whether there is a test split; without, its files are not read, and in a folder of
            images they need not be there.
        unsupervised_labels: "rotation" turns every image by k * 90 degrees and makes k its label.
            Then images are not flipped, because a mirrored quarter turn is the opposite one.

    Raises:
        ValueError: a value is outside its range.
    """

    root: str | None = None
    val_fraction: float = 0.1
    val_seed: int = 1234
    augment: bool = False
    cutout: int = 0
    subsample_fraction: float = 1.0
    subsample_seed: int = 0
    random_labels_fraction: float = 0.0
    blur_factor: int = 1
    test: bool = True
    unsupervised_labels: Literal["rotation"] | None = None

    def __post_init__(self) -> None:
        check("val_fraction", self.val_fraction, 0 <= self.val_fraction < 1, "in [0, 1)")
        check("cutout", self.cutout, self.cutout >= 0, "at least 0")
        kept = self.subsample_fraction
        check("subsample_fraction", kept, 0 < kept <= 1, "in (0, 1]")
        random = self.random_labels_fraction
        check("random_labels_fraction", random, 0 <= random <= 1, "in [0, 1]")
        check("blur_factor", self.blur_factor, self.blur_factor >= 1, "at least 1")
        labels = self.unsupervised_labels
        check("unsupervised_labels", labels, labels in (None, "rotation"), "rotation or null")

    @abstractmethod
    def read(self) -> DataSet:
        """The data set as stored, with the augmentation that `augment` stands for.

        Its test split is None without `test`.
        """

    def load(self, label_noise_seed: int) -> DataSet:
        """The data set with every option applied.

        Args:
            label_noise_seed: of the random labels.
        """
        data = self.read()
        train, val = hold_out(data.train, self.val_fraction, self.val_seed)
        train = subsample(train, self.subsample_fraction, self.subsample_seed)
        test, class_names = data.test, data.class_names
        if self.unsupervised_labels == "rotation":
            train = with_rotations(train, "train")
            val = None if val is None else with_rotations(val, "train")
            test = None if test is None else with_rotations(test, "test")
            class_names = ("0", "90", "180", "270")
        if self.random_labels_fraction > 0:
            train = with_random_labels(
                train, self.random_labels_fraction, len(class_names), label_noise_seed
            )
        return replace(
            data,
            train=with_blur(train, self.blur_factor),
            val=val,
            test=test,
            class_names=class_names,
            augmentation=self.chosen(data.augmentation),
        )

    def chosen(self, augmentation: Augmentation | None) -> Augmentation | None:
        """What is left of a data set's augmentation under `augment`, `cutout` and rotations."""
        chosen = augmentation if self.augment and augmentation else Augmentation()
        flip = chosen.flip and self.unsupervised_labels is None
        chosen = replace(chosen, flip=flip, cutout=self.cutout)
        return None if chosen == Augmentation() else chosen


def check(name: str, value: object, is_valid: bool, allowed: str) -> None:
    """Refuse the value of an option, by the name under which it is typed.

    Raises:
        ValueError: `is_valid` is false.
    """
    if not is_valid:
        raise ValueError(f"{name}: must be {allowed}, got {value}")
