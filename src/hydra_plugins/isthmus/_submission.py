"""Submits jobs with submitit, to a cluster or as local processes, and waits for them.

The launcher of hydra-submitit-launcher 1.2 stops at the first cancelled job although others still
run, and without SLURM accounting (`sacct`) it waits for that job for ever. Here a job has ended
when the ledger says so, or when it is gone from the queue.
"""

import getpass
import logging
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.singleton import Singleton
from hydra.core.utils import filter_overrides

from isthmus import sweeps

log = logging.getLogger(__name__)

SHORTEST, LONGEST = 0.5, 30.0  # seconds between two polls
INIT = ("submitit_folder", "max_num_timeout")  # parameters of the executor itself


def submit_and_wait(
    launcher: Any, job_overrides: Sequence[Sequence[str]], first: int, sweep: Path
) -> None:
    """Submit jobs as one array, and return when each has ended or is gone.

    Args:
        launcher: by hydra-submitit-launcher, set up.
        job_overrides: of each job.
        first: number of the first.
        sweep: folder of their ledger.
    """
    executor = _executor(launcher)
    log.info("submitting %d jobs, whose files are in %s", len(job_overrides), sweep)
    for number, overrides in enumerate(job_overrides, first):
        log.info("\t#%d : %s", number, " ".join(filter_overrides(overrides)))
    arguments = [
        (list(overrides), "hydra.sweep.dir", number, f"job_{number}", Singleton.get_state())
        for number, overrides in enumerate(job_overrides, first)
    ]
    jobs = executor.map_array(launcher, *zip(*arguments, strict=True))
    wait(dict(enumerate(jobs, first)), sweep, is_in_slurm=launcher._EXECUTOR == "slurm")


def wait(jobs: Mapping[int, Any], sweep: Path, is_in_slurm: bool) -> None:
    """Return when each job has ended or is gone.

    Args:
        jobs: of submitit, by their number in the sweep.
        sweep: folder of their ledger.
        is_in_slurm: whether SLURM runs them; else they are processes of this machine.
    """
    waited, missed, pause = dict(jobs), set[int](), SHORTEST
    while waited:
        queue = queued_jobs() if is_in_slurm else None
        for number, job in list(waited.items()):
            is_gone = (
                job.done() if not is_in_slurm else queue is not None and job.job_id not in queue
            )
            # A file from another machine may be visible only after the job has left the queue.
            if sweeps.has_ended(sweep, number) or (is_gone and number in missed):
                del waited[number]
            elif is_gone:
                missed.add(number)
        time.sleep(pause if waited else 0)
        pause = min(LONGEST, pause * 1.1)


def queued_jobs() -> set[str] | None:
    """This user's jobs in SLURM's queue: 12, or 12_3 in an array. None if it does not answer."""
    command = ["squeue", "--noheader", "--array", "--user", getpass.getuser(), "--format=%F %K"]
    answer = subprocess.run(command, capture_output=True, text=True)
    if answer.returncode:
        log.warning("squeue does not answer: %s", answer.stderr.strip())
        return None
    lines = [line.split() for line in answer.stdout.splitlines() if line.strip()]
    return {job if index == "N/A" else f"{job}_{index}" for job, index in lines}


def _executor(launcher: Any) -> Any:
    """A submitit executor with the launcher's parameters."""
    import submitit
    from hydra_plugins.hydra_submitit_launcher.config import BaseQueueConf

    shared, prefix = set(BaseQueueConf.__dataclass_fields__), f"{launcher._EXECUTOR}_"
    options = launcher.params
    timeouts = {f"{prefix}{key}": options[key] for key in ("max_num_timeout",) if key in options}
    executor = submitit.AutoExecutor(
        folder=options["submitit_folder"], cluster=launcher._EXECUTOR, **timeouts
    )
    executor.update_parameters(
        **{
            key if key in shared else prefix + key: v
            for key, v in options.items()
            if key not in INIT
        }
    )
    return executor
