"""How far a training is: a bar on a terminal, a line an epoch in a log."""

import logging
import sys

from tqdm import tqdm

from src import steps
from src.training.loop import Training
from src.training.report import Report

log = logging.getLogger(__name__)


class Progress:
    """Shows a training's progress and its latest numbers.

    Args:
        training: what is shown.
        end: its last iteration.
        report: whose numbers are shown.
        bar: whether to draw a bar where there is a terminal.
    """

    def __init__(self, training: Training, end: int, report: Report, bar: bool) -> None:
        self.report = report
        hidden = not bar or not sys.stderr.isatty()
        self.bar = tqdm(total=end, initial=training.iteration, unit="it", disable=hidden)

    def advance(self, training: Training) -> None:
        """Count an optimizer step."""
        self.bar.update()

    def tell(self, training: Training) -> None:
        """Show the numbers of the epoch that has ended."""
        if self.bar.disable:
            step = steps.to_text(training.iteration, training.iterations_per_epoch)
            log.info("%s  %s", step, self.report.summary)
        else:
            self.bar.set_postfix_str(self.report.summary)

    def close(self) -> None:
        """Leave the bar as it is."""
        self.bar.close()
