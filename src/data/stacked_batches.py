"""Batches of several trainings on one training set, made at once."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from src.data.augmentation import Plan
from src.data.batches import Batch, TrainBatches
from src.data.orders import check_start, data_order


class StackedBatches:
    """The batches of several `TrainBatches` that differ in their seeds, stacked.

    Bit for bit what each of them gives, but every step of the augmentation is one call for all.

    Args:
        batches: (models), made from one another by `TrainBatches.seeded`.

    Raises:
        ValueError: they do not share their training set, or differ in batch size.
    """

    def __init__(self, batches: Sequence[TrainBatches]) -> None:
        self.batches, self.first = list(batches), batches[0]
        sizes = [each.batch_size for each in batches]
        if len(set(sizes)) > 1:
            raise ValueError(f"one batch size for all that are trained together, got {sizes}")
        if len({each.labels.data_ptr() for each in batches}) > 1:
            raise ValueError("trained together: all need one training set, in the same memory")
        self.iterations_per_epoch = self.first.iterations_per_epoch

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch, from iteration `start` of it on.

        Returns:
            Pairs of inputs, (models, batch, *input_shape) float32, normalized, and labels,
            (models, batch) int64.

        Raises:
            ValueError: the epoch has no iteration `start`.
        """
        check_start(start, self.iterations_per_epoch)
        first = start * self.first.batch_size
        size = len(self.first)
        orders = [data_order(each.order_seed, epoch, size)[first:] for each in self.batches]
        return self._of(epoch, orders)

    def _of(self, epoch: int, orders: list[Tensor]) -> Iterator[Batch]:
        """The batches of an epoch of which `orders` are left, (examples,) each."""
        first, models = self.first, len(orders)
        pairs = zip(self.batches, orders, strict=True)
        planned = self._joined([each.plan(epoch, order) for each, order in pairs])
        planned = planned.to(first.device)
        labels = first.labels.index_select(0, self._in_turns(orders).to(first.device))
        step = models * first.batch_size
        for position in range(0, len(labels), step):
            part = slice(position, position + step)
            inputs = first.inputs(planned, part)  # (models * batch, *input_shape)
            yield inputs.unflatten(0, (models, -1)), labels[part].view(models, -1)

    def _joined(self, plans: list[Plan]) -> Plan:
        """The plans of all models as one, in the order of `_in_turns`."""
        flips = [plan.flips for plan in plans if plan.flips is not None]
        cutouts = [plan.cutouts for plan in plans if plan.cutouts is not None]
        return Plan(
            starts=self._in_turns([plan.starts for plan in plans]),
            flips=self._in_turns(flips) if flips else None,
            cutouts=self._in_turns(cutouts) if cutouts else None,
        )

    def _in_turns(self, values: list[Tensor]) -> Tensor:
        """Values of all models such that those of one iteration follow one another.

        Args:
            values: (models) of (..., examples).

        Returns:
            (..., models * examples): the first batch of each model, then the second of each.
        """
        stacked = torch.stack(values, dim=-2)  # (..., models, examples)
        parts = stacked.split(self.first.batch_size, dim=-1)  # (..., models, batch) each
        return torch.cat([part.flatten(-2) for part in parts], dim=-1)
