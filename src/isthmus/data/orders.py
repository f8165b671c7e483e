"""The order in which an epoch goes through the training set."""

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

from isthmus import rng

Share: TypeAlias = Callable[[int], slice]  # which of so many examples of a batch are made here


def data_order(seed: int, epoch: int, num_examples: int) -> Tensor:
    """(num_examples,) int64, the positions of an epoch: a function of the arguments alone."""
    return torch.randperm(num_examples, generator=rng.generator(seed, "data_order", epoch))


def take_all(count: int) -> slice:
    """Every one of `count` examples."""
    return slice(0, count)


def check_start(start: int, iterations_per_epoch: int) -> None:
    """Refuse to begin where an epoch has nothing.

    Raises:
        ValueError: `start` is negative or beyond the end of the epoch.
    """
    if not 0 <= start <= iterations_per_epoch:
        raise ValueError(f"start: must be in [0, {iterations_per_epoch}], got {start}")
