"""What can be done to training data before training: hold out, subsample, relabel, rotate, blur.

Every choice has a stream of its own, so that asking for one never changes another.
"""

import math
from dataclasses import replace
from fractions import Fraction

import torch
import torch.nn.functional as F
from torch import Tensor

from isthmus import chance
from isthmus.data.splits import AnySplit, StreamedSplit

CHUNK = 2048  # images blurred at once: bounds the memory of their float copies


def count(fraction: float, num_examples: int) -> int:
    """ceil(fraction * num_examples) of the fraction as written: 7 of 100 for 0.07, never 8."""
    return math.ceil(Fraction(str(fraction)) * num_examples)


def hold_out(split: AnySplit, fraction: float, seed: int) -> tuple[AnySplit, AnySplit | None]:
    """The rest of a split and its validation part, each in the order of the data set.

    Args:
        split: the training examples.
        fraction: part to hold out in [0, 1), rounded up to a whole number of examples.
        seed: of the permutation whose first examples are held out.

    Returns:
        (rest, held out), where the second is None if `fraction` is 0.

    Raises:
        ValueError: nothing would be left to train on.
    """
    num_val = count(fraction, len(split))
    if num_val == 0:
        return split, None
    if num_val == len(split):
        raise ValueError(
            f"val_fraction: {fraction} holds out all {len(split)} training examples, "
            f"at least one must be left"
        )
    order = torch.randperm(len(split), generator=chance.generator(seed, "val"))
    return split.take(order[num_val:].sort().values), split.take(order[:num_val].sort().values)


def subsample(split: AnySplit, fraction: float, seed: int) -> AnySplit:
    """A part of a split drawn without replacement, in the order of the data set.

    Of one seed, a smaller part lies within each larger one.

    Args:
        split: the training examples.
        fraction: part to keep in (0, 1], rounded up to a whole number of examples.
        seed: of the permutation whose first examples are kept.
    """
    num_kept = count(fraction, len(split))
    if num_kept == len(split):
        return split
    order = torch.randperm(len(split), generator=chance.generator(seed, "subsample"))
    return split.take(order[:num_kept].sort().values)


def with_random_labels(split: AnySplit, fraction: float, num_classes: int, seed: int) -> AnySplit:
    """A split whose labels are, at some positions, uniform over all classes (Zhang et al., 2017).

    A new label equals the old one with probability 1 / num_classes. Of one seed, the positions of
    a smaller fraction lie within those of each larger one, with the same new labels.

    Args:
        split: the training examples.
        fraction: part to relabel in [0, 1], rounded up to a whole number of examples.
        num_classes: new labels are below this.
        seed: of the positions and of the new labels.
    """
    generator = chance.generator(seed, "random_labels")
    order = torch.randperm(len(split), generator=generator)
    drawn = torch.randint(num_classes, (len(split),), generator=generator)
    positions = order[: count(fraction, len(split))]
    labels = split.labels.clone()
    labels[positions] = drawn[positions]
    return replace(split, labels=labels)


def with_rotations(split: AnySplit, name: str) -> AnySplit:
    """A split whose labels say by how many quarter turns an image is turned (Gidaris et al., 2018).

    Args:
        split: square images.
        name: "train" or "test", whose order `split.indices` refer to. The turn of an image depends
            on this and its index alone.

    Returns:
        Each image as `torch.rot90` turns it k times, with label k.

    Raises:
        ValueError: the images are not square.
    """
    shape = split.input_shape
    if len(shape) != 3 or shape[1] != shape[2]:
        raise ValueError(f"unsupervised_labels: rotation needs square images, got shape {shape}")
    num_drawn = int(split.indices.max()) + 1 if len(split) else 0
    drawn = torch.randint(4, (num_drawn,), generator=chance.generator(0, "rotation", name))
    turns = drawn[split.indices]
    if isinstance(split, StreamedSplit):
        return replace(split, labels=turns, quarter_turns=turns)
    return replace(split, inputs=rotate(split.inputs, turns), labels=turns)


def rotate(images: Tensor, quarter_turns: Tensor) -> Tensor:
    """Square images, each turned by its own number of quarter turns.

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
    """A split whose images have lost their fine detail (Achille et al., 2019).

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
    """Images made smaller by a factor and large again, both antialiased bilinear.

    Args:
        images: (examples, channels, height, width) uint8.
        factor: at least 1; the small image has round(height / factor) rows.
    """
    height, width = images.shape[2:]
    small = (max(1, round(height / factor)), max(1, round(width / factor)))
    down = F.interpolate(images.float(), small, mode="bilinear", antialias=True)
    up = F.interpolate(down, (height, width), mode="bilinear", antialias=True)
    return up.round().clamp(0, 255).to(torch.uint8)
