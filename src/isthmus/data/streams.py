"""Batches of images that are streamed from files: crops, samples, decoding processes."""

import copy
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from isthmus import rng
from isthmus.data.augmentation import as_inputs, cut_out_, lay_out, normalization_factors, normalize
from isthmus.data.decoding import open_image
from isthmus.data.orders import Share, check_start, data_order, take_all
from isthmus.data.recipe import blur, check_option
from isthmus.data.splits import Augmentation, DataSet, Normalization, StreamedSplit

if TYPE_CHECKING:
    from PIL.Image import Image

AREA = (0.08, 1.0)  # part of the image that a random crop covers
RATIO = (3 / 4, 4 / 3)  # width of that crop over its height
ATTEMPTS = 10  # to draw a random crop that fits in the image


def central_crop(image: "Image", resize: int, size: int) -> "Image":
    """The central square of `size` pixels, after resizing the shorter side to `resize` pixels."""
    from PIL.Image import Resampling

    width, height = image.size
    short = min(width, height)
    scaled = (resize * width // short, resize * height // short)
    if scaled != image.size:
        image = image.resize(scaled, Resampling.BILINEAR)
    left, top = round((scaled[0] - size) / 2), round((scaled[1] - size) / 2)
    return image.crop((left, top, left + size, top + size))


def resize_box(image: "Image", box: tuple[int, int, int, int], size: int) -> "Image":
    """The part of an image in a box, (left, top, width, height), resized to a square."""
    from PIL.Image import Resampling

    left, top, width, height = box
    crop = image.crop((left, top, left + width, top + height))
    return crop.resize((size, size), Resampling.BILINEAR)


def random_box(width: int, height: int, generator: torch.Generator) -> tuple[int, int, int, int]:
    """Draw the box of a random crop (Szegedy et al., 2015).

    Area and the logarithm of the aspect ratio are uniform. If none of the attempts fits in the
    image, the largest central box of an allowed ratio is taken, as torchvision does.

    Returns:
        left, top, width, height.
    """
    for _ in range(ATTEMPTS):
        area = width * height * draw_uniform(*AREA, generator)
        ratio = math.exp(draw_uniform(math.log(RATIO[0]), math.log(RATIO[1]), generator))
        box_width, box_height = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < box_width <= width and 0 < box_height <= height:
            top = torch.randint(height - box_height + 1, (), generator=generator).item()
            left = torch.randint(width - box_width + 1, (), generator=generator).item()
            return int(left), int(top), box_width, box_height
    box_width = min(width, round(height * RATIO[1]))
    box_height = min(height, round(width / RATIO[0]))
    return (width - box_width) // 2, (height - box_height) // 2, box_width, box_height


def draw_uniform(low: float, high: float, generator: torch.Generator) -> float:
    """Draw one number, uniform in [low, high)."""
    return torch.empty(1).uniform_(low, high, generator=generator).item()


if TYPE_CHECKING:
    from PIL.Image import Image

NO_CENTRE = torch.zeros(2, dtype=torch.int64)  # of the cutout of an image that has none


class Samples(Dataset):
    """Decoded images of a split, each with the centre of its cutout.

    Args:
        split: the images.
        augmentation: for training, None for evaluation.
        seed: of the augmentation.
        epoch: whose augmentation it is.
    """

    def __init__(
        self, split: StreamedSplit, augmentation: Augmentation | None, seed: int, epoch: int
    ) -> None:
        self.split, self.augmentation = split, augmentation
        self.seed, self.epoch = seed, epoch

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, position: int) -> tuple[Tensor, Tensor]:
        """Pixels, (3, size, size) uint8, and the cutout's centre, (2,) int64 row and column."""
        split = self.split
        image = open_image(split.path(position))
        if self.augmentation is None:
            pixels, centre = to_pixels(central_crop(image, split.resize, split.size)), NO_CENTRE
        else:
            index = int(split.indices[position])
            generator = rng.generator(self.seed, "augmentation", self.epoch, index)
            pixels, centre = augment_image(image, split, self.augmentation, generator)
        if split.blur_factor > 1:
            pixels = blur(pixels.unsqueeze(0), split.blur_factor).squeeze(0)
        if split.quarter_turns is not None:
            pixels = torch.rot90(pixels, int(split.quarter_turns[position]), dims=(1, 2))
        return pixels.contiguous(), centre


def to_pixels(image: "Image") -> Tensor:
    """An RGB image as (3, height, width) uint8."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def augment_image(
    image: "Image",
    split: StreamedSplit,
    augmentation: Augmentation,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """A random crop of an image, mirrored or not, and the centre of its cutout.

    Every number is drawn even if it is not used, so that crops do not depend on other options.
    """
    box = random_box(image.width, image.height, generator)
    if augmentation.resized_crop:
        crop = resize_box(image, box, split.size)
    else:
        crop = central_crop(image, split.resize, split.size)
    mirrored = torch.randint(2, (), generator=generator).item() == 1
    centre = torch.randint(split.size, (2,), generator=generator)
    pixels = to_pixels(crop)
    return pixels.flip(2) if augmentation.flip and mirrored else pixels, centre


if TYPE_CHECKING:
    pass


def _shorten_errors(loader: DataLoader) -> Iterator[tuple[Tensor, Tensor]]:
    """Iterate over a loader; a worker's error is shortened to its last line."""
    try:
        yield from loader
    except ValueError as error:
        last = str(error).strip().splitlines()[-1]
        raise ValueError(last.removeprefix("ValueError: ")) from error


class Loader:
    """Loads batches of decoded images in `num_workers` processes ahead of the training.

    Args:
        normalization: of the data set.
        size: side of the images in pixels.
        batch_size: examples in a batch.
        device: of the batches; images are moved to it as bytes and normalized there.
        channels_last: make images in that memory format.
        num_workers: processes that decode, 0 to decode in this one.
    """

    def __init__(
        self,
        normalization: Normalization,
        size: int,
        batch_size: int,
        device: torch.device | str,
        channels_last: bool,
        num_workers: int,
    ) -> None:
        check_option("batch_size", batch_size, batch_size >= 1, "at least 1")
        self.batch_size, self.num_workers, self.size = batch_size, num_workers, size
        self.device, self.channels_last = torch.device(device), channels_last
        factor, offset = normalization_factors(normalization, (3, size, size), channels_last)
        self.factor, self.offset = factor.to(device), offset.to(device)

    def load(
        self, samples: Samples, order: Tensor, share: Share = take_all
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches of the images at the positions in `order`, with their labels.

        Args:
            samples: the images.
            order: (examples,).
            share: which examples of a batch are made.
        """
        batches = order.split(self.batch_size) if len(order) else ()
        parts = [batch[share(len(batch))] for batch in batches]
        loader = DataLoader(
            samples,
            batch_sampler=[part.tolist() for part in parts if len(part)],
            num_workers=self.num_workers,
            pin_memory=self.device.type == "cuda",
            generator=torch.Generator(),  # else it would advance the global one
        )
        cutout = samples.augmentation.cutout if samples.augmentation is not None else 0
        decoded = _shorten_errors(loader)
        for part in parts:
            images, centres = next(decoded) if len(part) else self._empty_batch()
            stored = lay_out(images.to(self.device, non_blocking=True), self.channels_last)
            values = normalize(stored, self.factor, self.offset)
            if cutout:
                centres = centres.to(self.device, non_blocking=True).T
                cut_out_(values, centres, cutout, self.channels_last)
            labels = samples.split.labels[part].to(self.device, non_blocking=True)
            yield as_inputs(values, self.channels_last), labels

    def _empty_batch(self) -> tuple[Tensor, Tensor]:
        """Images and centres of a batch without examples of this process."""
        images = torch.empty((0, 3, self.size, self.size), dtype=torch.uint8)
        return images, torch.empty((0, 2), dtype=torch.int64)


class StreamedTrainBatches:
    """Training batches, as `TrainBatches`, of a data set that is streamed from files.

    Order and augmentation are functions of the same arguments; the number of workers changes
    only the speed.

    Args:
        data: whose training set, normalization and augmentation are used.
        batch_size: examples in a batch; the last batch of an epoch has the remaining ones.
        order_seed: of the order.
        augmentation_seed: of crops, flips and cutouts.
        device: of the batches.
        channels_last: make images in that memory format.
        num_workers: processes that decode, 0 to decode in this one.

    Raises:
        ValueError: `batch_size` is below 1, or images in files cannot be augmented so.
    """

    def __init__(
        self,
        data: DataSet,
        batch_size: int,
        order_seed: int,
        augmentation_seed: int,
        device: torch.device | str,
        channels_last: bool = False,
        num_workers: int = 0,
    ) -> None:
        assert isinstance(data.train, StreamedSplit)
        if data.augmentation is not None and data.augmentation.padding:
            raise ValueError(f"cannot augment images in files by {data.augmentation}")
        self.split, self.augmentation = data.train, data.augmentation
        self.order_seed, self.augmentation_seed = order_seed, augmentation_seed
        self.loader = Loader(
            data.normalization, self.split.size, batch_size, device, channels_last, num_workers
        )
        self.batch_size, self.indices = batch_size, self.split.indices
        self.share: Share = take_all

    def with_seeds(self, order_seed: int, augmentation_seed: int) -> "StreamedTrainBatches":
        """A copy with other seeds of order and augmentation."""
        other = copy.copy(self)
        other.order_seed, other.augmentation_seed = order_seed, augmentation_seed
        return other

    def with_share(self, share: Share) -> "StreamedTrainBatches":
        """A copy that makes only a share of each batch."""
        other = copy.copy(self)
        other.share = share
        return other

    def __len__(self) -> int:
        """Number of examples in an epoch."""
        return len(self.split)

    @property
    def iterations_per_epoch(self) -> int:
        """Number of batches in an epoch."""
        return math.ceil(len(self) / self.batch_size)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of an epoch, beginning at its iteration `start`; see `TrainBatches.epoch`.

        Raises:
            ValueError: the epoch has no iteration `start`.
        """
        check_start(start, self.iterations_per_epoch)
        order = data_order(self.order_seed, epoch, len(self))[start * self.batch_size :]
        samples = Samples(self.split, self.augmentation, self.augmentation_seed, epoch)
        return self.loader.load(samples, order, self.share)


class StreamedEvalBatches:
    """Evaluation batches, as `EvalBatches`, of a split that is streamed from files.

    Args:
        split: the examples.
        normalization: of the data set.
        batch_size: examples in a batch; the last one has the remaining ones.
        device: of the batches.
        channels_last: make images in that memory format.
        num_workers: processes that decode, 0 to decode in this one.

    Raises:
        ValueError: `batch_size` is below 1.
    """

    def __init__(
        self,
        split: StreamedSplit,
        normalization: Normalization,
        batch_size: int,
        device: torch.device | str,
        channels_last: bool = False,
        num_workers: int = 0,
    ) -> None:
        self.split, self.indices, self.batch_size = split, split.indices, batch_size
        self.loader = Loader(
            normalization, split.size, batch_size, device, channels_last, num_workers
        )

    def __len__(self) -> int:
        """Number of examples."""
        return len(self.split)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Pairs of inputs and labels, as from `EvalBatches`."""
        samples = Samples(self.split, None, seed=0, epoch=0)
        return self.loader.load(samples, torch.arange(len(self)))
