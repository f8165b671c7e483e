"""A launcher that writes its jobs into the ledger before they begin."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus

from isthmus import sweeps

log = logging.getLogger(__name__)


class LedgerLauncher:
    """Wraps one of Hydra's launchers, and keeps the ledger of its jobs.

    Args:
        launcher: which has been set up.
        sweep: folder of the ledger.
    """

    def __init__(self, launcher: Any, sweep: Path) -> None:
        self.launcher, self.sweep = launcher, sweep

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Run jobs; no error if the launcher fails, as joblib's does where a worker was killed.

        The status of each job is in the ledger, which the sweep prints at its end.
        """
        sweeps.plan_jobs(self.sweep, initial_job_idx, job_overrides)
        try:
            self._launch(job_overrides, initial_job_idx)
        except Exception as error:
            log.error("the launcher gave up: %s: %s", type(error).__name__, error)
        finally:
            sweeps.write_table(self.sweep)
        # Hydra would raise the error of a failed job, which the job has logged.
        return [JobReturn(overrides=each, status=JobStatus.COMPLETED) for each in job_overrides]

    def _launch(self, job_overrides: Sequence[Sequence[str]], first: int) -> None:
        if hasattr(self.launcher, "_EXECUTOR"):  # the launchers of hydra-submitit-launcher
            from hydra_plugins.isthmus import _submission

            _submission.submit_and_wait(self.launcher, job_overrides, first, self.sweep)
        else:
            self.launcher.launch(job_overrides, initial_job_idx=first)
