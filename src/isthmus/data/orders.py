"""Order of the training set in an epoch, and shares of batches."""

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

from isthmus import rng

Share: TypeAlias = Callable[[int], slice]  # from the size of a batch, which examples are made here


def data_order(seed: int, epoch: int, num_examples: int) -> Tensor:
    """Positions of an epoch in order, (num_examples,) int64: a function of the arguments only."""
    return torch.randperm(num_examples, generator=rng.generator(seed, "data_order", epoch))


def take_all(count: int) -> slice:
    """The share that is the whole batch of `count` examples."""
    return slice(0, count)


def check_start(start: int, iterations_per_epoch: int) -> None:
    """Refuse a first iteration that an epoch does not have.

    Raises:
        ValueError: `start` is negative or beyond the end of the epoch.
    """
    if not 0 <= start <= iterations_per_epoch:
        raise ValueError(f"start: must be in [0, {iterations_per_epoch}], got {start}")
