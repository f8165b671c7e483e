"""Moments of training: "30ep", "500it" or "2ep100it" as typed, iterations inside the code.

Iteration t is the state after t optimizer steps; iteration 0 is the initialization. This is the
only place that converts: what was typed becomes iterations as soon as the length of an epoch is
known, and text again only in names of folders and in messages.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias


@dataclass(frozen=True)
class Notation:
    """How a text has to be written.

    Args:
        parse: raises ValueError for another text.
        description: of such a text, for a message.
    """

    parse: Callable[[str], Any]
    description: str


_PATTERN = re.compile(r"(?:(\d+)ep)?(?:(\d+)it)?")


def parse(step: str) -> tuple[int, int]:
    """Epochs and further iterations of a step given as text.

    Args:
        step: "30ep", "500it", "2ep100it", or "0" for the initialization.

    Raises:
        ValueError: `step` is none of these.
    """
    if str(step) == "0":
        return 0, 0
    match = _PATTERN.fullmatch(str(step))
    if match is None or not str(step):
        raise ValueError(f"{step!r} is not a step: write 30ep, 500it or 2ep100it")
    return int(match[1] or 0), int(match[2] or 0)


# A moment as typed.
Step: TypeAlias = Annotated[str, Notation(parse, "a step such as 30ep, 500it or 2ep100it")]
Snapshots: TypeAlias = str | Sequence[Step | int] | None  # several, typed or in iterations


def to_iteration(step: Step | int, iterations_per_epoch: int) -> int:
    """Optimizer steps made at `step`, where an epoch has `iterations_per_epoch` of them.

    A whole number is an iteration already.
    """
    if isinstance(step, int):
        return step
    epochs, iterations = parse(step)
    return epochs * iterations_per_epoch + iterations


def to_text(iteration: int, iterations_per_epoch: int) -> Step:
    """The shortest text of an iteration: whole epochs, then the remaining iterations."""
    epochs, iterations = divmod(iteration, iterations_per_epoch)
    if iterations == 0:
        return f"{epochs}ep"
    return f"{epochs}ep{iterations}it" if epochs else f"{iterations}it"


def log_grid(end: int) -> list[int]:
    """Iterations 0, 1 and round(2**(i/2)) up to `end`, and `end` itself."""
    grid, power = {0, end}, 0
    while round(2 ** (power / 2)) < end:
        grid.add(round(2 ** (power / 2)))
        power += 1
    return sorted(grid)


def to_iterations(
    request: str | Iterable[Step | int] | None, iterations_per_epoch: int, end: int
) -> list[int]:
    """Iterations of a request for several steps, sorted, each once.

    Args:
        request: a list of steps, or of iterations; "every" for each epoch, "every_10ep" or
            "every_500it" for a period; "log" for `log_grid`; None for none.
        iterations_per_epoch: optimizer steps in one epoch.
        end: the last iteration of the training.

    Raises:
        ValueError: a step is not written as one, or is after `end`.
    """
    if request is None:
        return []
    if request == "log":
        return log_grid(end)
    if isinstance(request, str):
        period = period_of(request, iterations_per_epoch)
        return list(range(0, end + 1, period))
    iterations = {to_iteration(step, iterations_per_epoch): step for step in request}
    late = [
        to_text(iteration, iterations_per_epoch) if isinstance(step, int) else step
        for iteration, step in iterations.items()
        if iteration > end
    ]
    if late:
        raise ValueError(
            f"{', '.join(late)} is after the end of training, "
            f"{to_text(end, iterations_per_epoch)} ({end} iterations)"
        )
    return sorted(iterations)


def _check_period(text: str) -> None:
    if text != "log":
        period_of(text, 1)


# Several moments as typed.
Steps: TypeAlias = list[Step] | Annotated[str, Notation(_check_period, "log, every or every_10ep")]


def period_of(request: str, iterations_per_epoch: int) -> int:
    """Iterations between two steps of "every" (one epoch), "every_10ep" or "every_500it"."""
    word, _, step = request.partition("_")
    if word != "every":
        raise ValueError(f"{request!r} is not a list of steps, log, every, or every_10ep")
    period = to_iteration(step or "1ep", iterations_per_epoch)
    if period == 0:
        raise ValueError(f"{request!r} has no length: write every_10ep or every_500it")
    return period
