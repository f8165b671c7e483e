"""How far a training is: a bar on a terminal, lines of epochs in a log."""

import logging
import math
import sys
import time

from tqdm import tqdm

from isthmus import steps
from isthmus.training import loop
from isthmus.training.loop import Callback, Training
from isthmus.training.report import Report

log = logging.getLogger(__name__)

MOST_LINES = 100  # of one training, but for its first and last
SECONDS_BETWEEN_LINES = 10.0  # of one among many trainings, of which a line an epoch is too much


class Progress:
    """Shows a training's progress and its latest numbers.

    Args:
        training: what is shown.
        end: its last iteration.
        report: whose numbers are shown.
        bar: whether to draw a bar where there is a terminal.
        words: what is trained, where it is one of several; its lines come less often then.
    """

    def __init__(
        self, training: Training, end: int, report: Report, bar: bool, words: str = ""
    ) -> None:
        self.training, self.end, self.report, self.words = training, end, report, words
        hidden = not bar or not sys.stderr.isatty()
        self.bar = tqdm(
            total=end, initial=training.iteration, unit="it", disable=hidden, desc=words or None
        )
        self._told = time.monotonic()

    def callbacks(self) -> list[Callback]:
        """Count every step, and tell the numbers of every epoch; of many, of a hundred of them."""
        per_epoch = self.training.iterations_per_epoch
        apart = per_epoch * math.ceil(self.end / per_epoch / MOST_LINES)
        last = self.end - self.end % per_epoch
        return [
            Callback(loop.after_every_step, lambda _: self.advance()),
            Callback(lambda step: step % apart == 0 or step == last, lambda _: self.tell()),
        ]

    def advance(self) -> None:
        """Count an optimizer step."""
        self.bar.update()

    def tell(self) -> None:
        """Show the numbers of the epoch that has ended."""
        if not self.bar.disable:
            self.bar.set_postfix_str(self.report.summary)
            return
        training, now = self.training, time.monotonic()
        if self.words and training.iteration < self.end:
            if now - self._told < SECONDS_BETWEEN_LINES:
                return
        self._told = now
        step = steps.to_text(training.iteration, training.iterations_per_epoch)
        log.info("%s%s  %s", f"{self.words}: " if self.words else "", step, self.report.summary)

    def close(self) -> None:
        """Tell of an end within an epoch, and leave the bar as it is."""
        if self.training.iteration % self.training.iterations_per_epoch:
            self.tell()
        self.bar.close()
