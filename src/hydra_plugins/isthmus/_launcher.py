"""A launcher whose jobs are in the ledger before they begin, whatever becomes of them."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus

from isthmus import sweeps

log = logging.getLogger(__name__)


class LedgerLauncher:
    """One of Hydra's launchers, and the ledger of its jobs.

    Args:
        launcher: which has been set up.
        sweep: folder of the ledger.
    """

    def __init__(self, launcher: Any, sweep: Path) -> None:
        self.launcher, self.sweep = launcher, sweep

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Run jobs; a launcher that gives up, as joblib's where a worker was killed, is no error.

        What became of each job is in the ledger, which tells it when the sweep ends.
        """
        sweeps.plan_jobs(self.sweep, initial_job_idx, job_overrides)
        try:
            self._launch(job_overrides, initial_job_idx)
        except Exception as error:
            log.error("the launcher gave up: %s: %s", type(error).__name__, error)
        finally:
            sweeps.write_table(self.sweep)
        # Hydra raises what a failed job returned. The job has said it.
        return [JobReturn(overrides=words, status=JobStatus.COMPLETED) for words in job_overrides]

    def _launch(self, job_overrides: Sequence[Sequence[str]], first: int) -> None:
        if hasattr(self.launcher, "_EXECUTOR"):  # those of hydra-submitit-launcher
            from hydra_plugins.isthmus import _submission

            _submission.submit_and_wait(self.launcher, job_overrides, first, self.sweep)
        else:
            self.launcher.launch(job_overrides, initial_job_idx=first)
