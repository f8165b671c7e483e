"""Crop, flip and cutout of many images at once, from numbers drawn ahead of time."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from isthmus import chance
from isthmus.data.pixels import laid_out
from isthmus.data.splits import Augmentation

DRAWN = ("crop_row", "crop_column", "flip", "cutout_row", "cutout_column")


def draw(seed: int, epoch: int, num_examples: int) -> Tensor:
    """The numbers behind the augmentation of one epoch.

    A row depends on its place, the seed and the epoch alone, not on `num_examples`.

    Returns:
        (num_examples, 5) int64, uniform in [0, 2**31); columns as in `DRAWN`.
    """
    generator = chance.generator(seed, "augmentation", epoch)
    return torch.randint(2**31, (num_examples, len(DRAWN)), generator=generator)


class Crops:
    """Images laid out so that every crop of their size is one contiguous run of memory.

    A row of an image is stored behind `padding` zeros, and an image behind `padding` rows of zeros.
    The zeros that follow a row or an image are those of its successor, so that a crop is what lies
    in memory from its first pixel on, with the same strides whatever its place: gathering a batch
    copies one run per image.

    Args:
        images: (examples, channels, height, width).
        padding: zeros on each side of the images that crops are taken from.
        channels_last: lay out, and return, (batch, height, width, channels).
    """

    def __init__(self, images: Tensor, padding: int, channels_last: bool) -> None:
        self.shape = laid_out(images[:1], channels_last).shape[1:]
        stored = laid_out(F.pad(images, (padding, 0, padding, 0)), channels_last)
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
        """Where in memory crops start.

        Args:
            positions: (batch,) of the images.
            rows: (batch,) in [0, 2 * padding], of the crops in the padded images.
            columns: likewise.
        """
        return positions * self.block + rows * self.row + columns * self.column

    def gather(self, starts: Tensor) -> Tensor:
        """(batch, *shape) of the crops at `starts`, in memory of its own."""
        runs = self.runs.index_select(0, starts)  # (batch, run)
        crops = runs.as_strided((len(starts), *self.shape), (self.run, *self.strides))
        return crops.contiguous()


def flip(images: Tensor, chosen: Tensor, column_axis: int) -> Tensor:
    """uint8 images, those mirrored left and right for which `chosen` is 255 and not 0.

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


def hidden(centres: Tensor, length: int, side: int) -> Tensor:
    """Which places along one axis lie in a cutout.

    Args:
        centres: (batch,) in [0, length).
        length: of the axis.
        side: of the cutout, which begins side // 2 places before its centre.

    Returns:
        (batch, length) float32, 1 inside and 0 outside.
    """
    places = torch.arange(length, device=centres.device)
    first = (centres - side // 2).unsqueeze(1)
    return ((places >= first) & (places < first + side)).float()


def cut_out_(values: Tensor, centres: Tensor, side: int, channels_last: bool) -> None:
    """Set a square of each normalized image to 0, which is the mean, in place.

    Args:
        values: (batch, channels, height, width) float32, or with channels last.
        centres: (2, batch) rows and columns, of the squares.
        side: of the squares, clipped at the borders of the image.
        channels_last: the layout of `values`.
    """
    height, width = values.shape[1:3] if channels_last else values.shape[2:]
    rows = hidden(centres[0], height, side).unsqueeze(2)  # (batch, height, 1)
    columns = hidden(centres[1], width, side).unsqueeze(1)  # (batch, 1, width)
    if channels_last:
        columns = columns.repeat_interleave(values.shape[3], dim=2)
        values = values.flatten(2)  # (batch, height, width * channels)
    else:
        columns = columns.unsqueeze(1)  # (batch, 1, 1, width)
        rows = rows.unsqueeze(1)
    values.mul_((rows * -columns).add_(1))


@dataclass(frozen=True, eq=False)
class Plan:
    """The augmentation of the images of an epoch, in the order in which they come.

    Args:
        starts: (examples,) for `Crops.gather`.
        flips: (examples,) for `flip`, or None.
        cutouts: (2, examples) rows and columns of centres for `cut_out_`, or None.
    """

    starts: Tensor
    flips: Tensor | None
    cutouts: Tensor | None

    def to(self, device: torch.device) -> "Plan":
        """The same plan on `device`."""
        flips = None if self.flips is None else self.flips.to(device)
        cutouts = None if self.cutouts is None else self.cutouts.to(device)
        return Plan(self.starts.to(device), flips, cutouts)


def plan(
    augmentation: Augmentation,
    crops: Crops,
    positions: Tensor,
    numbers: Tensor,
    size: tuple[int, ...],
) -> Plan:
    """What to do to each image.

    Args:
        augmentation: which steps there are.
        crops: of the same padding.
        positions: (examples,) of the images in `crops`.
        numbers: (examples, 5) of `draw`.
        size: (height, width).
    """
    row, column, mirrored, cutout_row, cutout_column = numbers.unbind(1)
    num_shifts = 2 * augmentation.padding + 1
    height, width = size
    cutouts = torch.stack([cutout_row % height, cutout_column % width])  # (2, examples)
    return Plan(
        starts=crops.starts(positions, row % num_shifts, column % num_shifts),
        flips=(mirrored % 2 * 255).to(torch.uint8) if augmentation.flip else None,
        cutouts=cutouts if augmentation.cutout else None,
    )
