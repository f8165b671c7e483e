"""Plateau schedule: the learning rate falls when the validation loss stops falling."""

import math

from isthmus.steps import to_text
from isthmus.training.schedulers import Scheduler, Unmet
from isthmus.vocabulary import CountFromZero, PositiveShare, Ratio, Share


class Plateau(Scheduler):
    """The base learning rate, multiplied by `gamma` whenever the validation loss has not improved
    for more than `patience` epochs (the rule of `torch.optim.lr_scheduler.ReduceLROnPlateau`).

    An epoch improves if its loss is below `1 - threshold` times the best one before; one whose
    loss is not a number does not.
    """

    def __init__(
        self,
        iterations: int,
        iterations_per_epoch: int,
        gamma: PositiveShare = 0.1,
        patience: CountFromZero = 10,
        cooldown: CountFromZero = 0,
        threshold: Share = 1e-4,
        min_factor: Ratio = 0.0,
    ) -> None:
        """Begin at the base learning rate.

        Args:
            iterations: optimizer steps of the whole training; not used.
            iterations_per_epoch: optimizer steps of one epoch.
            gamma: in (0, 1).
            patience: epochs without improvement before a drop, not negative.
            cooldown: epochs after a drop that are not counted, not negative.
            threshold: relative improvement that counts as one, in [0, 1).
            min_factor: the lowest learning rate over the base one, in [0, 1].

        Raises:
            ValueError: a value is outside its range.
        """
        if not 0 < gamma < 1:
            raise ValueError(f"gamma: must be in (0, 1), got {gamma}")
        if patience < 0:
            raise ValueError(f"patience: must not be negative, got {patience}")
        if cooldown < 0:
            raise ValueError(f"cooldown: must not be negative, got {cooldown}")
        if not 0 <= threshold < 1:
            raise ValueError(f"threshold: must be in [0, 1), got {threshold}")
        if not 0 <= min_factor <= 1:
            raise ValueError(f"min_factor: must be in [0, 1], got {min_factor}")
        self._gamma, self._patience, self._cooldown = gamma, patience, cooldown
        self._threshold, self._min_factor = threshold, min_factor
        self._per_epoch = iterations_per_epoch
        self._factor, self._best = 1.0, math.inf
        self._bad_epochs, self._cooldown_left = 0, 0

    def factor(self, iteration: int) -> float:
        """See `Scheduler`; the same for every iteration until `observe` changes it."""
        return self._factor

    def unmet(self, end: int) -> Unmet | None:
        """See `Scheduler`; the first epoch is the best so far, and others must follow a drop."""
        if (self._patience + 2) * self._per_epoch < end:
            return None
        last = to_text(end, self._per_epoch)
        schedule = (
            f"constant: a patience of {self._patience} epochs is not over before the end, {last}"
        )
        return Unmet("patience", str(self._patience), schedule)

    def observe(self, val_loss: float) -> None:
        """Count the epoch, and lower the learning rate if too many did not improve."""
        if val_loss < self._best * (1 - self._threshold):
            self._best, self._bad_epochs = val_loss, 0
        else:
            self._bad_epochs += 1
        if self._cooldown_left > 0:
            self._cooldown_left, self._bad_epochs = self._cooldown_left - 1, 0
        if self._bad_epochs > self._patience:
            self._factor = max(self._factor * self._gamma, self._min_factor)
            self._cooldown_left, self._bad_epochs = self._cooldown, 0

    def state_dict(self) -> dict[str, float]:
        """The factor, the best loss so far, and the epochs counted."""
        return {
            "factor": self._factor,
            "best": self._best,
            "bad_epochs": self._bad_epochs,
            "cooldown_left": self._cooldown_left,
        }

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Restore what `state_dict` returned."""
        self._factor, self._best = state["factor"], state["best"]
        self._bad_epochs = int(state["bad_epochs"])
        self._cooldown_left = int(state["cooldown_left"])
