"""What a request for levels comes to, in iterations. Imports no torch."""

from collections.abc import Sequence
from dataclasses import dataclass

from isthmus import steps
from isthmus.steps import Step


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a user asks of a study, as typed; see `python prune.py --help`.

    `start` is the length of the training that comes before, "0" if there is none; `branch` is the
    name of the folder that the branch asked for has in each level.
    """

    levels: int
    rewind: str
    rewind_step: Step
    start: Step = "0"
    snapshots: str | list[Step] | None = None
    branch: str | None = None
    branch_levels: Sequence[int] | None = None


class Plan:
    """A request in iterations.

    Args:
        request: what is asked for.
        iterations_per_epoch: optimizer steps in one epoch.
        end: last iteration of every level, as planned.

    Raises:
        ValueError: there is nothing between the beginning and the end, or a step lies outside.
    """

    def __init__(self, request: Request, iterations_per_epoch: int, end: int) -> None:
        self.request, self.iterations_per_epoch, self.end = request, iterations_per_epoch, end
        self.start = steps.to_iteration(request.start, iterations_per_epoch)
        rewind = steps.to_iteration(request.rewind_step, iterations_per_epoch)
        self.rewind = rewind or self.start
        if self.start >= end:
            raise ValueError(
                f"pretrain: takes {request.start}, which is taken off the training, and that has "
                f"{self.text(end)}: nothing would be left; pretrain.hparams.epochs=... shortens it"
            )
        if not self.start <= self.rewind < end:
            begins = f"from {self.text(self.start)}, the end of pretraining, " * bool(self.start)
            raise ValueError(
                f"rewind_step={request.rewind_step}: must lie {begins}before the end of training, "
                f"{self.text(end)} ({end} iterations)"
            )
        self.levels = list(range(request.levels + 1))

    @property
    def branch_levels(self) -> list[int]:
        """Levels that the branch is made of: all sparse ones, if not told."""
        if self.request.branch is None:
            return []
        asked = self.request.branch_levels
        return self.levels[1:] if asked is None else sorted(asked)

    def begin(self, level: int) -> int:
        """The iteration that the training of a level begins at."""
        again = level > 0 and self.request.rewind != "none"
        return self.rewind if again else self.start

    def kept(self, level: int) -> list[Step]:
        """Snapshots of a level that are asked for, or are needed to rewind to."""
        asked = self.request.snapshots
        wanted = set(steps.to_iterations(asked, self.iterations_per_epoch, self.end))
        if level == 0 and self.rewind > self.start:
            wanted.add(self.rewind)
        return [f"{iteration}it" for iteration in sorted(wanted) if iteration >= self.begin(level)]

    def text(self, iteration: int) -> Step:
        """A moment as one would type it."""
        return steps.to_text(iteration, self.iterations_per_epoch)
