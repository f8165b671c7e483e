"""Base classes of data sets: validation split, subsampling, label noise; blur, rotations."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from isthmus import rng
from isthmus.data.splits import AnySplit, Augmentation, DataSet, StreamedSplit
from isthmus.vocabulary import Count, CountFromZero, PositiveRatio, Ratio, Share

CHUNK = 2048  # images blurred at once: bounds the memory of their float copies


def fraction_to_count(fraction: float, num_examples: int) -> int:
    """ceil(fraction * num_examples) of the fraction as typed: 7 of 100 for 0.07, never 8."""
    return math.ceil(Fraction(str(fraction)) * num_examples)


def hold_out(split: AnySplit, fraction: float, seed: int) -> tuple[AnySplit, AnySplit | None]:
    """Hold out a validation part of a split; both parts in the order of the data set.

    Args:
        split: the training examples.
        fraction: part to hold out in [0, 1), rounded up to a whole number of examples.
        seed: of the permutation whose first examples are held out.

    Returns:
        (rest, held out), where the second is None if `fraction` is 0.

    Raises:
        ValueError: nothing would be left to train on.
    """
    num_val = fraction_to_count(fraction, len(split))
    if num_val == 0:
        return split, None
    if num_val == len(split):
        raise ValueError(
            f"val_fraction: {fraction} holds out all {len(split)} training examples, "
            f"at least one must be left"
        )
    order = torch.randperm(len(split), generator=rng.generator(seed, "val"))
    return split.take(order[num_val:].sort().values), split.take(order[:num_val].sort().values)


def subsample(split: AnySplit, fraction: float, seed: int) -> AnySplit:
    """A random part of a split, drawn without replacement, in the order of the data set.

    For one seed, a smaller part is contained in each larger one.

    Args:
        split: the training examples.
        fraction: part to keep in (0, 1], rounded up to a whole number of examples.
        seed: of the permutation whose first examples are kept.
    """
    num_kept = fraction_to_count(fraction, len(split))
    if num_kept == len(split):
        return split
    order = torch.randperm(len(split), generator=rng.generator(seed, "subsample"))
    return split.take(order[:num_kept].sort().values)


def with_random_labels(split: AnySplit, fraction: float, num_classes: int, seed: int) -> AnySplit:
    """A split whose labels are, at some positions, uniform over all classes (Zhang et al., 2017).

    A new label equals the old one with probability 1 / num_classes. For one seed, the positions of
    a smaller fraction are among those of each larger one, with the same new labels.

    Args:
        split: the training examples.
        fraction: part to relabel in [0, 1], rounded up to a whole number of examples.
        num_classes: new labels are below this.
        seed: of the positions and of the new labels.
    """
    generator = rng.generator(seed, "random_labels")
    order = torch.randperm(len(split), generator=generator)
    drawn = torch.randint(num_classes, (len(split),), generator=generator)
    positions = order[: fraction_to_count(fraction, len(split))]
    labels = split.labels.clone()
    labels[positions] = drawn[positions]
    return replace(split, labels=labels)


def with_rotations(split: AnySplit, name: str) -> AnySplit:
    """A split of rotated images, labelled by their quarter turns (Gidaris et al., 2018).

    Args:
        split: square images.
        name: "train" or "test", whose order `split.indices` refer to. The rotation of an image
            depends only on this and its index.

    Returns:
        Each image rotated k times by `torch.rot90`, with label k.

    Raises:
        ValueError: the images are not square.
    """
    shape = split.input_shape
    if len(shape) != 3 or shape[1] != shape[2]:
        raise ValueError(f"unsupervised_labels: rotation needs square images, got shape {shape}")
    num_drawn = int(split.indices.max()) + 1 if len(split) else 0
    drawn = torch.randint(4, (num_drawn,), generator=rng.generator(0, "rotation", name))
    turns = drawn[split.indices]
    if isinstance(split, StreamedSplit):
        return replace(split, labels=turns, quarter_turns=turns)
    return replace(split, inputs=rotate(split.inputs, turns), labels=turns)


def rotate(images: Tensor, quarter_turns: Tensor) -> Tensor:
    """Rotate square images, each by its own number of quarter turns.

    Args:
        images: (examples, channels, side, side).
        quarter_turns: (examples,) in {0, 1, 2, 3}.
    """
    rotated = images.clone()
    for k in (1, 2, 3):
        chosen = quarter_turns == k
        rotated[chosen] = torch.rot90(images[chosen], k, dims=(2, 3))
    return rotated


def with_blur(split: AnySplit, factor: int) -> AnySplit:
    """A split of blurred images (Achille et al., 2019).

    Args:
        split: images.
        factor: as in `blur`.

    Raises:
        ValueError: there are no images, or they are smaller than `factor`.
    """
    if factor == 1:
        return split
    shape = split.input_shape
    if len(shape) != 3 or factor > min(shape[1:]):
        raise ValueError(
            f"blur_factor: must be at most the side of an image, got {factor}: {shape}"
        )
    if isinstance(split, StreamedSplit):
        return replace(split, blur_factor=factor)
    blurred = [blur(images, factor) for images in split.inputs.split(CHUNK)]
    return replace(split, inputs=torch.cat(blurred))


def blur(images: Tensor, factor: int) -> Tensor:
    """Blur images: shrink by a factor and enlarge again, both antialiased bilinear.

    Args:
        images: (examples, channels, height, width) uint8.
        factor: at least 1; the small image has round(height / factor) rows.
    """
    height, width = images.shape[2:]
    small = (max(1, round(height / factor)), max(1, round(width / factor)))
    down = F.interpolate(images.float(), small, mode="bilinear", antialias=True)
    up = F.interpolate(down, (height, width), mode="bilinear", antialias=True)
    return up.round().clamp(0, 255).to(torch.uint8)


@dataclass(frozen=True, kw_only=True)
class DataRecipe(ABC):
    """Options of every data set and how they are applied; a subclass reads the data.

    Applied in this order, each from a stream of its own: hold out `val`, subsample the rest,
    process (see `process`), randomize labels (train).

    Args:
        root: folder that has the data.
        val_fraction: part of the training set held out as `val`, in [0, 1), rounded up.
        val_seed: which examples.
        subsample_fraction: part of the remaining training examples to keep, in (0, 1], rounded up.
        subsample_seed: which examples.
        random_labels_fraction: part of the training labels to redraw, in [0, 1], rounded up. A new
            label can be the old one. `val` and `test` keep the true labels.
        test: whether there is a test split; without, its files are not read, and in a folder of
            images they need not exist.

    Raises:
        ValueError: a value is outside its range.
    """

    # Options that have no effect where others have these values.
    WITHOUT_EFFECT: ClassVar[dict[str, dict[str, Any]]] = {
        "val_seed": {"val_fraction": 0},
        "subsample_seed": {"subsample_fraction": 1},
    }

    root: str | None = None
    val_fraction: Share = 0.1
    val_seed: int = 1234
    subsample_fraction: PositiveRatio = 1.0
    subsample_seed: int = 0
    random_labels_fraction: Ratio = 0.0
    test: bool = True

    def __post_init__(self) -> None:
        check_option("val_fraction", self.val_fraction, 0 <= self.val_fraction < 1, "in [0, 1)")
        kept = self.subsample_fraction
        check_option("subsample_fraction", kept, 0 < kept <= 1, "in (0, 1]")
        random = self.random_labels_fraction
        check_option("random_labels_fraction", random, 0 <= random <= 1, "in [0, 1]")

    @abstractmethod
    def read(self) -> DataSet:
        """Read the data set as stored, with the augmentation that suits it, if it has images.

        Its test split is None without `test`.
        """

    def process(self, data: DataSet) -> DataSet:
        """The data set with what the options change in inputs, true labels and augmentation."""
        return data

    def load(self, label_noise_seed: int) -> DataSet:
        """Read the data set and apply every option.

        Args:
            label_noise_seed: of the random labels.
        """
        data = self.read()
        train, val = hold_out(data.train, self.val_fraction, self.val_seed)
        train = subsample(train, self.subsample_fraction, self.subsample_seed)
        data = self.process(replace(data, train=train, val=val))
        if self.random_labels_fraction == 0:
            return data
        noisy = with_random_labels(
            data.train, self.random_labels_fraction, len(data.class_names), label_noise_seed
        )
        return replace(data, train=noisy)


@dataclass(frozen=True, kw_only=True)
class ImageRecipe(DataRecipe):
    """Options of every data set of images and how they are applied; a subclass reads the data.

    Labels are replaced by rotations in all splits; the images of `train` are blurred.

    Args:
        augment: crop and flip training images, in the way that suits the data set.
        cutout: side in pixels of the square hidden from training images, 0 for none.
        blur_factor: training images are shrunk by this factor and enlarged again, 1 for no blur.
        unsupervised_labels: "rotation" rotates every image by k * 90 degrees and makes k its label.
            Then images are not flipped, because a mirrored quarter turn is the opposite one.

    Raises:
        ValueError: a value is outside its range.
    """

    augment: bool = False
    cutout: CountFromZero = 0
    blur_factor: Count = 1
    unsupervised_labels: Literal["rotation"] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_option("cutout", self.cutout, self.cutout >= 0, "at least 0")
        check_option("blur_factor", self.blur_factor, self.blur_factor >= 1, "at least 1")
        labels = self.unsupervised_labels
        check_option(
            "unsupervised_labels", labels, labels in (None, "rotation"), "rotation or null"
        )

    def process(self, data: DataSet) -> DataSet:
        """See `DataRecipe`."""
        if self.unsupervised_labels == "rotation":
            data = replace(
                data,
                train=with_rotations(data.train, "train"),
                val=None if data.val is None else with_rotations(data.val, "train"),
                test=None if data.test is None else with_rotations(data.test, "test"),
                class_names=("0", "90", "180", "270"),
            )
        return replace(
            data,
            train=with_blur(data.train, self.blur_factor),
            augmentation=self.select_augmentation(data.augmentation),
        )

    def select_augmentation(self, augmentation: Augmentation | None) -> Augmentation | None:
        """The augmentation of a data set under `augment`, `cutout` and rotations; None for none."""
        chosen = augmentation if self.augment and augmentation else Augmentation()
        flip = chosen.flip and self.unsupervised_labels is None
        chosen = replace(chosen, flip=flip, cutout=self.cutout)
        return None if chosen == Augmentation() else chosen


def check_option(name: str, value: object, is_valid: bool, allowed: str) -> None:
    """Refuse an invalid value of an option, by its name as typed.

    Raises:
        ValueError: `is_valid` is false.
    """
    if not is_valid:
        raise ValueError(f"{name}: must be {allowed}, got {value}")
