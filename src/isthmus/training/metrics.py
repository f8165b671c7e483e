"""Metrics of an evaluation, one table. Imports no torch until one is measured."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from isthmus.data.splits import Loss


@dataclass(frozen=True)
class Metric:
    """One number of an evaluation of several networks on one split.

    Args:
        name: in tables, summaries and TensorBoard.
        measure: of logits (models, examples, outputs), labels (examples,), the loss of the data
            set, and logits of the reference (examples, outputs), None where there is none.
        is_mean: whether `measure` gives the values of examples, (models, examples), whose mean is
            the metric: then it is called batch by batch. Else it gives the metric, (models,), of a
            whole split, whose logits are kept for it.
        needs_classes: whether it means nothing where labels are numbers.
        needs_reference: whether it compares with a reference; without one, there is no number.
    """

    name: str
    measure: "Callable[[Tensor, Tensor, Loss, Tensor | None], Tensor]"
    is_mean: bool = True
    needs_classes: bool = False
    needs_reference: bool = False

    def applies(self, loss: "Loss", has_reference: bool = False) -> bool:
        """Whether there is a number for a data set with this loss."""
        has_classes = loss != "squared" or not self.needs_classes
        return has_classes and (has_reference or not self.needs_reference)


def example_losses(
    logits: "Tensor", labels: "Tensor", loss: "Loss", reference: "Tensor | None"
) -> "Tensor":
    """The loss of every example, in nats, or what the data set has instead."""
    from isthmus.training import losses

    return losses.example_losses(loss, logits.float(), labels)


def is_correct(
    logits: "Tensor", labels: "Tensor", loss: "Loss", reference: "Tensor | None"
) -> "Tensor":
    """Whether the class of every example is the right one; the mean is the accuracy, in [0, 1]."""
    from isthmus.training import losses

    return losses.is_correct(loss, logits, labels)


ACCURACY = Metric("accuracy", is_correct, needs_classes=True)
# All metrics, in the order of columns; loss and accuracy come first. A new one is an entry here.
METRICS = (Metric("loss", example_losses), ACCURACY)
METRIC_NAMES = tuple(metric.name for metric in METRICS)
