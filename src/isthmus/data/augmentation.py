"""Normalization and augmentation of batches: crops, flips and cutouts."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from isthmus import rng
from isthmus.data.splits import Augmentation, Normalization


def normalization_factors(
    normalization: Normalization, shape: tuple[int, ...], channels_last: bool
) -> tuple[Tensor, Tensor]:
    """The factor and the offset for which normalized = stored * factor + offset.

    Args:
        normalization: with one value per channel, or one for all.
        shape: (channels, height, width) or (features,) of an input.
        channels_last: lay out (height, width, channels).

    Returns:
        Two tensors of that whole shape: multiplying by them needs no broadcasting within an image,
        which is several times faster.

    Raises:
        ValueError: the numbers of channels differ.
    """
    mean = torch.tensor(normalization.mean, dtype=torch.float64)
    std = torch.tensor(normalization.std, dtype=torch.float64)
    if not len(mean) == len(std) or len(mean) not in (1, shape[0]):
        raise ValueError(
            f"normalization: {len(mean)} means and {len(std)} stds for {shape[0]} channels"
        )
    factor, offset = 1 / (normalization.scale * std), -mean / std
    return spread_over_channels(factor, shape, channels_last), spread_over_channels(
        offset, shape, channels_last
    )


def spread_over_channels(values: Tensor, shape: tuple[int, ...], channels_last: bool) -> Tensor:
    """One value per channel, repeated over `shape` in the given layout."""
    whole = values.view(-1, *[1] * (len(shape) - 1)).expand(shape).float()
    return whole.permute(1, 2, 0).contiguous() if channels_last else whole.contiguous()


def normalize(stored: Tensor, factor: Tensor, offset: Tensor) -> Tensor:
    """stored * factor + offset as float32, in memory of its own.

    Args:
        stored: (batch, *shape) contiguous.
        factor: (*shape), from `normalization_factors`.
        offset: (*shape), from there too.
    """
    inputs = stored.to(torch.float32, copy=True)
    return torch.addcmul(offset, inputs, factor, out=inputs)


def as_inputs(values: Tensor, channels_last: bool) -> Tensor:
    """(batch, channels, height, width) of values laid out with channels last, else as they are."""
    return values.permute(0, 3, 1, 2) if channels_last else values


def lay_out(inputs: Tensor, channels_last: bool) -> Tensor:
    """Inputs in memory as (examples, height, width, channels) if channels come last, else as is."""
    return inputs.permute(0, 2, 3, 1).contiguous() if channels_last else inputs.contiguous()


DRAWN = ("crop_row", "crop_column", "flip", "cutout_row", "cutout_column")


def draw_augmentation(seed: int, epoch: int, num_examples: int) -> Tensor:
    """Random numbers for the augmentation of one epoch, a row per example.

    A row depends only on its index, the seed and the epoch, not on `num_examples`.

    Returns:
        (num_examples, 5) int64, uniform in [0, 2**31); columns as in `DRAWN`.
    """
    generator = rng.generator(seed, "augmentation", epoch)
    return torch.randint(2**31, (num_examples, len(DRAWN)), generator=generator)


class Crops:
    """Images laid out so that every crop of their size is one contiguous run of memory.

    A row of an image is stored behind `padding` zeros, and an image behind `padding` rows of zeros.
    The zeros that follow a row or an image are those of its successor, so that a crop is a run of
    memory from its first pixel on, with the same strides wherever it is: gathering a batch copies
    one run per image.

    Args:
        images: (examples, channels, height, width).
        padding: zeros on each side of the images that crops are taken from.
        channels_last: lay out, and return, (batch, height, width, channels).
    """

    def __init__(self, images: Tensor, padding: int, channels_last: bool) -> None:
        self.shape = lay_out(images[:1], channels_last).shape[1:]
        stored = lay_out(F.pad(images, (padding, 0, padding, 0)), channels_last)
        self.block = math.prod(stored.shape[1:])
        self.strides = stored.stride()[1:]
        row_axis = 0 if channels_last else 1
        self.row, self.column = self.strides[row_axis : row_axis + 2]
        ends = [(size - 1) * step for size, step in zip(self.shape, self.strides, strict=True)]
        self.run = 1 + sum(ends)
        tail = stored.new_zeros(2 * padding * (self.row + self.column))
        flat = torch.cat([stored.view(-1), tail]) if padding else stored.view(-1)
        # (starts, run): views that overlap
        self.runs = flat.as_strided((len(flat) - self.run + 1, self.run), (1, 1))

    def starts(self, positions: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        """Offsets in memory at which crops start.

        Args:
            positions: (batch,) of the images.
            rows: (batch,) in [0, 2 * padding], of the crops in the padded images.
            columns: (batch,) in the same range.
        """
        return positions * self.block + rows * self.row + columns * self.column

    def gather(self, starts: Tensor) -> Tensor:
        """(batch, *shape) of the crops at `starts`, in memory of its own."""
        runs = self.runs.index_select(0, starts)  # (batch, run)
        crops = runs.as_strided((len(starts), *self.shape), (self.run, *self.strides))
        return crops.contiguous()


def flip(images: Tensor, chosen: Tensor, column_axis: int) -> Tensor:
    """Mirror those of uint8 images left and right for which `chosen` is 255 and not 0.

    Args:
        images: (batch, ...) uint8.
        chosen: (batch,) uint8, 0 or 255.
        column_axis: of `images`.
    """
    # a ^ ((a ^ b) & chosen) selects byte by byte; torch.where is ten times slower here, because
    # it does not vectorize over a condition that it has to broadcast.
    mirrored = images.flip(column_axis)
    chosen = chosen.view(-1, *[1] * (images.ndim - 1))
    return mirrored.bitwise_xor_(images).bitwise_and_(chosen).bitwise_xor_(images)


def cutout_places(centres: Tensor, length: int, side: int) -> Tensor:
    """Mask of the positions along one axis that are in a cutout.

    Args:
        centres: (batch,) in [0, length).
        length: of the axis.
        side: of the cutout, which begins side // 2 positions before its centre.

    Returns:
        (batch, length) float32, 1 inside and 0 outside.
    """
    positions = torch.arange(length, device=centres.device)
    first = (centres - side // 2).unsqueeze(1)
    return ((positions >= first) & (positions < first + side)).float()


def cut_out_(values: Tensor, centres: Tensor, side: int, channels_last: bool) -> None:
    """Set a square of each normalized image to 0, which is the mean, in place.

    Args:
        values: (batch, channels, height, width) float32, or with channels last.
        centres: (2, batch) rows and columns, of the squares.
        side: of the squares, clipped at the borders of the image.
        channels_last: the layout of `values`.
    """
    height, width = values.shape[1:3] if channels_last else values.shape[2:]
    rows = cutout_places(centres[0], height, side).unsqueeze(2)  # (batch, height, 1)
    columns = cutout_places(centres[1], width, side).unsqueeze(1)  # (batch, 1, width)
    if channels_last:
        columns = columns.repeat_interleave(values.shape[3], dim=2)
        values = values.flatten(2)  # (batch, height, width * channels)
    else:
        columns = columns.unsqueeze(1)  # (batch, 1, 1, width)
        rows = rows.unsqueeze(1)
    values.mul_((rows * -columns).add_(1))


@dataclass(frozen=True, eq=False)
class AugmentationPlan:
    """The augmentation of the images of an epoch, in the order in which they come.

    Args:
        starts: (examples,) for `Crops.gather`.
        flips: (examples,) for `flip`, or None.
        cutouts: (2, examples) rows and columns of centres for `cut_out_`, or None.
    """

    starts: Tensor
    flips: Tensor | None
    cutouts: Tensor | None

    def to(self, device: torch.device) -> "AugmentationPlan":
        """The same plan on `device`."""
        flips = None if self.flips is None else self.flips.to(device)
        cutouts = None if self.cutouts is None else self.cutouts.to(device)
        return AugmentationPlan(self.starts.to(device), flips, cutouts)


def plan_augmentation(
    augmentation: Augmentation,
    crops: Crops,
    positions: Tensor,
    numbers: Tensor,
    size: tuple[int, ...],
) -> AugmentationPlan:
    """Starts of crops, flips and centres of cutouts of each image, from random numbers.

    Args:
        augmentation: which of these are applied.
        crops: of the same padding.
        positions: (examples,) of the images in `crops`.
        numbers: (examples, 5) of `draw_augmentation`.
        size: (height, width).
    """
    row, column, mirrored, cutout_row, cutout_column = numbers.unbind(1)
    num_shifts = 2 * augmentation.padding + 1
    height, width = size
    cutouts = torch.stack([cutout_row % height, cutout_column % width])  # (2, examples)
    return AugmentationPlan(
        starts=crops.starts(positions, row % num_shifts, column % num_shifts),
        flips=(mirrored % 2 * 255).to(torch.uint8) if augmentation.flip else None,
        cutouts=cutouts if augmentation.cutout else None,
    )
