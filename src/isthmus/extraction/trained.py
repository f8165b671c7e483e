"""A training of students as a file: it goes on where it was, and ends at once when it is done."""

import logging
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from isthmus import runs
from isthmus.extraction.fitting import Fit

log = logging.getLogger(__name__)

SECONDS_BETWEEN_LINES = 10.0


@dataclass(frozen=True)
class Running:
    """How students are trained, not what they become.

    Args:
        save_every: seconds between two writes of a state.
        progress: whether to draw a bar where there is a terminal.
    """

    save_every: float
    progress: bool


def trained(fit: Fit, state: Path, running: Running, words: str) -> Fit:
    """Students trained to the end.

    Args:
        fit: where they begin.
        state: the file of what they have become, read if it is there.
        running: see there.
        words: what is trained, for a line in the log.
    """
    if state.exists():
        fit.load_state_dict(runs.load_state(state))
        if not fit.is_done:
            log.info("%s: going on from epoch %d", words, fit.epoch)
    if fit.is_done:
        return fit
    hidden = not running.progress or not sys.stderr.isatty()
    bar = tqdm(total=fit.schedule.epochs, initial=fit.epoch, unit="ep", disable=hidden, desc=words)
    told = time.monotonic()

    def tell() -> None:
        nonlocal told
        bar.update()
        if time.monotonic() - told >= SECONDS_BETWEEN_LINES:
            told = time.monotonic()
            bar.set_postfix_str(summary(fit)) if not hidden else log.info(
                "%s: epoch %d  %s", words, fit.epoch, summary(fit)
            )

    fit.run(lambda: runs.save_state(state, fit.state_dict()), running.save_every, tell)
    bar.close()
    log.info("%s: %d epochs  %s", words, fit.epoch, summary(fit))
    return fit


def summary(fit: Fit) -> str:
    """The latest losses that are known, in words."""
    latest = {student: loss for _, student, loss, _ in fit.rows}
    losses = sorted(latest.values())
    done = len(losses) - len(fit.active)
    return (
        f"losses {losses[0]:.2e} to {losses[-1]:.2e}, median {statistics.median(losses):.2e}; "
        f"{done} of {len(losses)} done"
    )
