"""What the one training loop takes: batches, a schedule, and what keeps a network in its place."""

from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeAlias

from torch import Tensor

from isthmus.data.orders import Share

Batch: TypeAlias = tuple[Tensor, Tensor]  # inputs and labels
Calibrate: TypeAlias = Callable[[Callable[[Tensor, Tensor], Tensor], list[Batch]], dict[str, float]]


class Batches(Protocol):
    """Training batches in an order that depends on the epoch alone."""

    @property
    def iterations_per_epoch(self) -> int: ...

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Inputs and labels of an epoch's iterations from `start` on."""
        ...

    def shared(self, share: Share) -> "Batches":
        """The same batches, of each of which only a share is made."""
        ...


class Scheduler(Protocol):
    """The learning rate over time, relative to the optimizer's own, up to the end of training."""

    def factor(self, iteration: int) -> float: ...
    def observe(self, val_loss: float) -> None: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state_dict: dict[str, Any]) -> None: ...


class Constraint(Protocol):
    """Keeps a network where it has to be while it is trained."""

    def on_gradients(self) -> None:
        """Called when gradients are there, before they are clipped or anything else reads them."""
        ...

    def on_weights(self) -> None:
        """Called when weights were set, by an optimizer step or a new beginning."""
        ...
