"""Batches of images that are read from their files, for sets too large for memory."""

import copy
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from isthmus.data.augmentation import cut_out_
from isthmus.data.orders import Share, all_of, check_start, data_order
from isthmus.data.pixels import affine, as_inputs, laid_out, normalize
from isthmus.data.recipe import check
from isthmus.data.samples import Samples
from isthmus.data.splits import DataSet, Normalization, StreamedSplit

if TYPE_CHECKING:
    pass


def _one_line(loader: DataLoader) -> Iterator[tuple[Tensor, Tensor]]:
    """What a loader yields; of a worker's error only its last line, not its traceback."""
    try:
        yield from loader
    except ValueError as error:
        last = str(error).strip().splitlines()[-1]
        raise ValueError(last.removeprefix("ValueError: ")) from error


class Loader:
    """Makes batches of decoded images, `num_workers` processes ahead of the training.

    Args:
        normalization: of the data set.
        size: side of the images in pixels.
        batch_size: examples in a batch.
        device: where batches go; images cross to it as bytes and are normalized there.
        channels_last: make images in that memory format.
        num_workers: processes that decode, 0 for none but this one.
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
        check("batch_size", batch_size, batch_size >= 1, "at least 1")
        self.batch_size, self.num_workers, self.size = batch_size, num_workers, size
        self.device, self.channels_last = torch.device(device), channels_last
        factor, offset = affine(normalization, (3, size, size), channels_last)
        self.factor, self.offset = factor.to(device), offset.to(device)

    def load(
        self, samples: Samples, order: Tensor, share: Share = all_of
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """The images at the positions in `order`, in batches, each with its labels.

        Args:
            samples: the images.
            order: (examples,).
            share: which of the examples of a batch are made.
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
        decoded = _one_line(loader)
        for part in parts:
            images, centres = next(decoded) if len(part) else self._nothing()
            stored = laid_out(images.to(self.device, non_blocking=True), self.channels_last)
            values = normalize(stored, self.factor, self.offset)
            if cutout:
                centres = centres.to(self.device, non_blocking=True).T
                cut_out_(values, centres, cutout, self.channels_last)
            labels = samples.split.labels[part].to(self.device, non_blocking=True)
            yield as_inputs(values, self.channels_last), labels

    def _nothing(self) -> tuple[Tensor, Tensor]:
        """Images and centres of a batch of which no example is made here."""
        images = torch.empty((0, 3, self.size, self.size), dtype=torch.uint8)
        return images, torch.empty((0, 2), dtype=torch.int64)


class StreamedTrainBatches:
    """As `TrainBatches`, of a training set that stays in its files.

    Order and augmentation are functions of the same arguments; the number of workers changes
    nothing but the speed.

    Args:
        data: whose training set, normalization and augmentation are used.
        batch_size: examples in a batch; the last batch of an epoch has what is left.
        order_seed: of the order.
        augmentation_seed: of crops, flips and cutouts.
        device: where batches go.
        channels_last: make images in that memory format.
        num_workers: processes that decode, 0 for none but this one.

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
        self.share: Share = all_of

    def seeded(self, order_seed: int, augmentation_seed: int) -> "StreamedTrainBatches":
        """The same training set, in another order and otherwise augmented."""
        other = copy.copy(self)
        other.order_seed, other.augmentation_seed = order_seed, augmentation_seed
        return other

    def shared(self, share: Share) -> "StreamedTrainBatches":
        """The same batches, of each of which only a share is made."""
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
        """The batches of an epoch, from iteration `start` of it on, as `TrainBatches.epoch`.

        Raises:
            ValueError: the epoch has no iteration `start`.
        """
        check_start(start, self.iterations_per_epoch)
        order = data_order(self.order_seed, epoch, len(self))[start * self.batch_size :]
        samples = Samples(self.split, self.augmentation, self.augmentation_seed, epoch)
        return self.loader.load(samples, order, self.share)


class StreamedEvalBatches:
    """As `EvalBatches`, of a split that stays in its files.

    Args:
        split: the examples.
        normalization: of the data set.
        batch_size: examples in a batch; the last one has what is left.
        device: where batches go.
        channels_last: make images in that memory format.
        num_workers: processes that decode, 0 for none but this one.

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
        """Pairs of inputs and labels, as those of `EvalBatches`."""
        samples = Samples(self.split, None, seed=0, epoch=0)
        return self.loader.load(samples, torch.arange(len(self)))
