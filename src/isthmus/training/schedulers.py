"""Learning-rate schedules: constant, cosine, linear, multistep, periodic, inverse square root.

A factor of the optimizer's learning rate as a function of the iteration. Every scheduler is built
with the planned number of optimizer steps and those of one epoch, and has

- `factor(iteration)`: the learning rate of the optimizer step that follows `iteration` steps, over
  the base learning rate;
- `observe(val_loss)`: to be called after each epoch;
- `unmet(end)`: an option that has no effect before the end of training;
- `warmup`: iterations of the warm-up, None where there is no such option;
- `state_dict()` and `load_state_dict(state)`: what a resumed run needs; plain numbers.

A warm-up of W iterations multiplies the learning rate of its i-th step, counted from 0, by
(i + 1) / W: the first step has base / W, not 0, and the last one the base. Schedules that fill the
rest of training (cosine, linear) count from the end of the warm-up; milestones count from the start
of training.
"""

import math
from bisect import bisect_right
from dataclasses import dataclass

from isthmus.steps import Step, to_iteration, to_text
from isthmus.vocabulary import Positive


@dataclass(frozen=True)
class Unmet:
    """An option of a schedule that takes effect only after the end of training.

    Args:
        option: its name.
        value: as typed.
        schedule: what the learning rate does instead.
    """

    option: str
    value: str
    schedule: str


class Scheduler:
    """Base of schedules that depend only on the iteration, so that there is no state to save."""

    warmup: int | None = None

    def factor(self, iteration: int) -> float:
        """Learning rate of the step after `iteration` steps, relative to the base."""
        raise NotImplementedError

    def observe(self, val_loss: float) -> None:
        """Update the schedule with the validation loss of an epoch, in nats."""

    def unmet(self, end: int) -> Unmet | None:
        """An option whose steps are not all before iteration `end`; None if all are."""
        return None

    def state_dict(self) -> dict[str, float]:
        """Numbers to save, for `load_state_dict`."""
        return {}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Restore what `state_dict` returned."""


class Constant(Scheduler):
    """The base learning rate, after a linear warm-up."""

    def __init__(self, iterations: int, iterations_per_epoch: int, warmup: Step = "0ep") -> None:
        """Plan the training.

        Args:
            iterations: optimizer steps of the whole training.
            iterations_per_epoch: optimizer steps of one epoch.
            warmup: length of the warm-up, at most that of the training.

        Raises:
            ValueError: the warm-up is longer than the training.
        """
        self.warmup: int = _warmup(warmup, iterations, iterations_per_epoch)

    def factor(self, iteration: int) -> float:
        """See `Scheduler`."""
        return _warmup_factor(iteration, self.warmup)


class Cosine(Scheduler):
    """Half a cosine from the base down to 0 at the end (Loshchilov and Hutter, 2017, no restart).

    The last step, one before the end, still has a learning rate above 0.
    """

    def __init__(self, iterations: int, iterations_per_epoch: int, warmup: Step = "0ep") -> None:
        """Plan the training.

        Args:
            iterations: optimizer steps of the whole training.
            iterations_per_epoch: optimizer steps of one epoch.
            warmup: length of the warm-up, at most that of the training.

        Raises:
            ValueError: the warm-up is longer than the training.
        """
        self._iterations = iterations
        self.warmup: int = _warmup(warmup, iterations, iterations_per_epoch)

    def factor(self, iteration: int) -> float:
        """See `Scheduler`; raises a ValueError past the end of the planned training."""
        if iteration < self.warmup:
            return _warmup_factor(iteration, self.warmup)
        done = _share_done(iteration, self.warmup, self._iterations)
        return 0.5 * (1 + math.cos(math.pi * done))


class Linear(Scheduler):
    """A straight line from the base down to 0 at the end.

    The last step, one before the end, still has a learning rate above 0.
    """

    def __init__(self, iterations: int, iterations_per_epoch: int, warmup: Step = "0ep") -> None:
        """Plan the training.

        Args:
            iterations: optimizer steps of the whole training.
            iterations_per_epoch: optimizer steps of one epoch.
            warmup: length of the warm-up, at most that of the training.

        Raises:
            ValueError: the warm-up is longer than the training.
        """
        self._iterations = iterations
        self.warmup: int = _warmup(warmup, iterations, iterations_per_epoch)

    def factor(self, iteration: int) -> float:
        """See `Scheduler`; raises a ValueError past the end of the planned training."""
        if iteration < self.warmup:
            return _warmup_factor(iteration, self.warmup)
        return 1 - _share_done(iteration, self.warmup, self._iterations)


class MultiStep(Scheduler):
    """The base learning rate, multiplied by `gamma` at each milestone."""

    def __init__(
        self,
        iterations: int,
        iterations_per_epoch: int,
        milestones: list[Step],
        gamma: Positive = 0.1,
        warmup: Step = "0ep",
    ) -> None:
        """Plan the training.

        Args:
            iterations: optimizer steps of the whole training.
            iterations_per_epoch: optimizer steps of one epoch.
            milestones: steps in increasing order; the step that follows a milestone is the
                first with the new learning rate; see `unmet` for those past the end of training.
            gamma: positive.
            warmup: length of the warm-up, at most that of the training.

        Raises:
            ValueError: the milestones do not increase, or a value is outside its range.
        """
        self._steps, self._per_epoch = list(milestones), iterations_per_epoch
        self._milestones = [to_iteration(step, iterations_per_epoch) for step in milestones]
        pairs = zip([0, *self._milestones], self._milestones, strict=False)
        if any(later <= earlier for earlier, later in pairs):
            raise ValueError(f"milestones: must increase, from above 0, got {list(milestones)}")
        self._gamma = _positive("gamma", gamma)
        self.warmup: int = _warmup(warmup, iterations, iterations_per_epoch)

    def factor(self, iteration: int) -> float:
        """See `Scheduler`."""
        drops = bisect_right(self._milestones, iteration)
        return _warmup_factor(iteration, self.warmup) * self._gamma**drops

    def unmet(self, end: int) -> Unmet | None:
        """See `Scheduler`."""
        met = bisect_right(self._milestones, end - 1)
        if met == len(self._milestones):
            return None
        texts, last = [str(step) for step in self._steps], to_text(end, self._per_epoch)
        if met == 0:
            schedule = (
                f"constant{' after the warm-up' if self.warmup else ''}: none of the milestones "
                f"{', '.join(texts)} is before the end, {last}"
            )
        else:
            schedule = (
                f"falls at {', '.join(texts[:met])} only: {', '.join(texts[met:])} is not before "
                f"the end, {last}"
            )
        return Unmet("milestones", f"[{','.join(texts)}]", schedule)


class Periodic(Scheduler):
    """The base learning rate, multiplied by `gamma` after each `period`."""

    def __init__(
        self, iterations: int, iterations_per_epoch: int, period: Step, gamma: Positive
    ) -> None:
        """Plan the training.

        Args:
            iterations: optimizer steps of the whole training.
            iterations_per_epoch: optimizer steps of one epoch.
            period: time between two multiplications, at least one iteration.
            gamma: positive.

        Raises:
            ValueError: a value is outside its range.
        """
        self._period = to_iteration(period, iterations_per_epoch)
        if self._period < 1:
            raise ValueError(f"period: must be at least 1it, got {period}")
        self._step, self._per_epoch = period, iterations_per_epoch
        self._gamma = _positive("gamma", gamma)

    def factor(self, iteration: int) -> float:
        """See `Scheduler`."""
        return self._gamma ** (iteration // self._period)

    def unmet(self, end: int) -> Unmet | None:
        """See `Scheduler`."""
        if self._period < end:
            return None
        period, last = self._step, to_text(end, self._per_epoch)
        return Unmet(
            "period", period, f"constant: the period, {period}, is not over before the end, {last}"
        )


class InverseSqrt(Scheduler):
    """The base learning rate over the root of the epoch, counted from 1."""

    def __init__(self, iterations: int, iterations_per_epoch: int) -> None:
        """Plan the training.

        Args:
            iterations: optimizer steps of the whole training.
            iterations_per_epoch: optimizer steps of one epoch.
        """
        self._iterations_per_epoch = iterations_per_epoch

    def factor(self, iteration: int) -> float:
        """See `Scheduler`."""
        return (iteration // self._iterations_per_epoch + 1) ** -0.5


def _positive(name: str, value: float) -> float:
    if not value > 0:
        raise ValueError(f"{name}: must be positive, got {value}")
    return value


def _warmup(step: Step, iterations: int, iterations_per_epoch: int) -> int:
    """Iterations of a warm-up, checked against the length of the training."""
    warmup = to_iteration(step, iterations_per_epoch)
    if warmup > iterations:
        end = to_text(iterations, iterations_per_epoch)
        raise ValueError(
            f"warmup: {step} ({warmup} iterations) is longer than the training, "
            f"{end} ({iterations} iterations)"
        )
    return warmup


def _warmup_factor(iteration: int, warmup: int) -> float:
    return (iteration + 1) / warmup if iteration < warmup else 1.0


def _share_done(iteration: int, start: int, end: int) -> float:
    """Fraction of the iterations from `start` to `end` that are done, in [0, 1]."""
    if iteration > end:
        raise ValueError(
            f"no learning rate for the step after {iteration} iterations: "
            f"this schedule ends at {end}"
        )
    return (iteration - start) / max(1, end - start)  # 0 if the warm-up fills the training
