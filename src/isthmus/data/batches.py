"""Batches of a data set: augmented and shuffled for training, plain and in order for evaluation."""

import copy
import math
from collections.abc import Callable, Iterator
from typing import TypeAlias

import torch
from torch import Tensor

from isthmus import rng
from isthmus.data.augmentation import (
    AugmentationPlan,
    Crops,
    as_inputs,
    cut_out_,
    draw_augmentation,
    flip,
    lay_out,
    normalization_factors,
    normalize,
    plan_augmentation,
)
from isthmus.data.orders import Share, check_start, data_order, take_all
from isthmus.data.recipe import check_option
from isthmus.data.splits import DataSet, Normalization, Split, StreamedSplit
from isthmus.data.streams import StreamedEvalBatches, StreamedTrainBatches

Batch: TypeAlias = tuple[Tensor, Tensor]  # inputs and labels


class TrainBatches:
    """Training batches of a data set in memory, one epoch at a time.

    The order of an epoch is a function of (order seed, epoch), the augmentation of an example of
    (augmentation seed, epoch, its index in the data set): neither depends on the batch size, the
    device, or earlier draws. On a GPU no batch waits for the host.

    Args:
        data: whose training set, normalization and augmentation are used.
        batch_size: examples in a batch; the last batch of an epoch has the remaining ones.
        order_seed: of the order.
        augmentation_seed: of crops, flips and cutouts.
        device: where the training set is held and batches are made.
        channels_last: make images in that memory format.

    Raises:
        ValueError: `batch_size` is below 1, or such inputs cannot be augmented in memory.
    """

    def __init__(
        self,
        data: DataSet,
        batch_size: int,
        order_seed: int,
        augmentation_seed: int,
        device: torch.device | str,
        channels_last: bool = False,
    ) -> None:
        check_option("batch_size", batch_size, batch_size >= 1, "at least 1")
        self.batch_size, self.device = batch_size, torch.device(device)
        self.share: Share = take_all
        self.order_seed, self.augmentation_seed = order_seed, augmentation_seed
        self.augmentation, self.input_shape = data.augmentation, data.input_shape
        self.channels_last = channels_last and len(data.input_shape) == 3
        split = data.train
        assert isinstance(split, Split)
        self.labels, self.indices = split.labels.to(device), split.indices.cpu()
        self.gather, self.crops = self.lay_out(split.inputs.to(device))
        factor, offset = normalization_factors(
            data.normalization, data.input_shape, self.channels_last
        )
        self.factor, self.offset = factor.to(device), offset.to(device)

    def lay_out(self, inputs: Tensor) -> tuple[Callable[[Tensor], Tensor], Crops | None]:
        """A function that gathers the stored values of a batch, and the crops it reads, if any."""
        if self.augmentation is None:
            stored = lay_out(inputs, self.channels_last)
            return lambda positions: stored.index_select(0, positions), None
        if inputs.dtype != torch.uint8 or inputs.ndim != 4 or self.augmentation.resized_crop:
            raise ValueError(
                f"cannot augment inputs of shape {self.input_shape} and {inputs.dtype} in memory "
                f"by {self.augmentation}"
            )
        crops = Crops(inputs, self.augmentation.padding, self.channels_last)
        return crops.gather, crops

    def with_seeds(self, order_seed: int, augmentation_seed: int) -> "TrainBatches":
        """A copy with other seeds of order and augmentation, on the same memory."""
        other = copy.copy(self)
        other.order_seed, other.augmentation_seed = order_seed, augmentation_seed
        return other

    def with_share(self, share: Share) -> "TrainBatches":
        """A copy that makes only a share of each batch."""
        other = copy.copy(self)
        other.share = share
        return other

    def __len__(self) -> int:
        """Number of examples in an epoch."""
        return len(self.labels)

    @property
    def iterations_per_epoch(self) -> int:
        """Number of batches in an epoch."""
        return math.ceil(len(self) / self.batch_size)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch, beginning at its iteration `start`.

        Returns:
            Pairs of inputs, (batch, channels, height, width) or (batch, features) float32,
            normalized, and labels, (batch,) int64.

        Raises:
            ValueError: the epoch has no iteration `start`.
        """
        check_start(start, self.iterations_per_epoch)
        order = data_order(self.order_seed, epoch, len(self))[start * self.batch_size :]
        return self.batches(epoch, order)

    def batches(self, epoch: int, order: Tensor) -> Iterator[Batch]:
        """The remaining batches of an epoch, with the examples in `order`."""
        planned = self.plan(epoch, order).to(self.device)
        labels = self.labels.index_select(0, order.to(self.device))
        for first in range(0, len(order), self.batch_size):
            share = self.share(min(self.batch_size, len(order) - first))
            part = slice(first + share.start, first + share.stop)
            yield self.inputs(planned, part), labels[part]

    def plan(self, epoch: int, order: Tensor) -> AugmentationPlan:
        """The augmentation plan of the examples in `order`."""
        if self.augmentation is None or self.crops is None:
            return AugmentationPlan(order, None, None)
        num_drawn = int(self.indices.max()) + 1
        numbers = draw_augmentation(self.augmentation_seed, epoch, num_drawn)[self.indices[order]]
        return plan_augmentation(
            self.augmentation, self.crops, order, numbers, self.input_shape[1:]
        )

    def inputs(self, planned: AugmentationPlan, part: slice) -> Tensor:
        """Inputs of one batch, augmented and normalized."""
        stored = self.gather(planned.starts[part])
        if planned.flips is not None:
            stored = flip(stored, planned.flips[part], column_axis=2 if self.channels_last else 3)
        values = normalize(stored, self.factor, self.offset)
        if planned.cutouts is not None and self.augmentation is not None:
            side = self.augmentation.cutout
            cut_out_(values, planned.cutouts[:, part], side, self.channels_last)
        return as_inputs(values, self.channels_last)


class EvalBatches:
    """Evaluation batches of a split in memory, in its own order, un-augmented; can be reiterated.

    Args:
        split: the examples.
        normalization: of the data set.
        batch_size: examples in a batch; the last one has the remaining ones.
        device: where the split is held and batches are made.
        channels_last: make images in that memory format.

    Raises:
        ValueError: `batch_size` is below 1.
    """

    def __init__(
        self,
        split: Split,
        normalization: Normalization,
        batch_size: int,
        device: torch.device | str,
        channels_last: bool = False,
    ) -> None:
        check_option("batch_size", batch_size, batch_size >= 1, "at least 1")
        self.batch_size = batch_size
        self.channels_last = channels_last and len(split.input_shape) == 3
        self.stored = lay_out(split.inputs.to(device), self.channels_last)
        self.labels, self.indices = split.labels.to(device), split.indices
        factor, offset = normalization_factors(normalization, split.input_shape, self.channels_last)
        self.factor, self.offset = factor.to(device), offset.to(device)

    def __len__(self) -> int:
        """Number of examples."""
        return len(self.labels)

    def __iter__(self) -> Iterator[Batch]:
        """Pairs of inputs and labels, as from `TrainBatches.epoch`."""
        for first in range(0, len(self), self.batch_size):
            part = slice(first, first + self.batch_size)
            inputs = normalize(self.stored[part], self.factor, self.offset)
            yield as_inputs(inputs, self.channels_last), self.labels[part]


def train_batches(
    data: DataSet,
    batch_size: int,
    order_seed: int,
    augmentation_seed: int,
    device: torch.device | str,
    channels_last: bool = False,
    num_workers: int = 0,
) -> TrainBatches | StreamedTrainBatches:
    """Batches of the training set, from memory, or from files with `num_workers` processes.

    Raises:
        ValueError: there is no training set, or as `TrainBatches`.
    """
    data.require_train("dataset")
    if isinstance(data.train, Split):
        return TrainBatches(data, batch_size, order_seed, augmentation_seed, device, channels_last)
    return StreamedTrainBatches(
        data, batch_size, order_seed, augmentation_seed, device, channels_last, num_workers
    )


def eval_batches(
    split: Split | StreamedSplit,
    normalization: Normalization,
    batch_size: int,
    device: torch.device | str,
    channels_last: bool = False,
    num_workers: int = 0,
) -> EvalBatches | StreamedEvalBatches:
    """Batches of a split, from memory, or from files with `num_workers` processes."""
    if isinstance(split, Split):
        return EvalBatches(split, normalization, batch_size, device, channels_last)
    return StreamedEvalBatches(split, normalization, batch_size, device, channels_last, num_workers)


def calibration(data: DataSet, num_examples: int, num_workers: int = 0) -> Tensor:
    """Inputs of the part of a training set on which batch norm is re-estimated.

    The first `num_examples` of one permutation that no seed changes, all if there are fewer; not
    augmented, and the same for every batch size and data order.

    Args:
        data: whose training set is used.
        num_examples: at least 1.
        num_workers: processes that read files, where the training set is streamed.

    Returns:
        (examples, channels, height, width) or (examples, features) float32, normalized.

    Raises:
        ValueError: `num_examples` is below 1, or there is no training set.
    """
    data.require_train("bn: re-estimation of statistics (all but bn=keep and bn=average)")
    check_option("num_examples", num_examples, num_examples >= 1, "at least 1")
    order = torch.randperm(len(data.train), generator=rng.generator(0, "calibration"))
    part = data.train.take(order[:num_examples])
    batches = eval_batches(part, data.normalization, 256, "cpu", num_workers=num_workers)
    return torch.cat([inputs for inputs, _ in batches])
