"""Jobs that submitit starts, in a cluster or as processes of their own, and waiting for them.

The launcher of hydra-submitit-launcher 1.2 gives up at the first job that was cancelled while the
others go on, and where SLURM keeps no accounts (`sacct`) it waits for that job for ever. Here a
job has ended when the ledger says so, or when it is gone from the queue.
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

SHORTEST, LONGEST = 0.5, 30.0  # seconds between two looks
INIT = ("submitit_folder", "max_num_timeout")  # what the executor itself takes


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
        is_in_slurm: else they are processes of this machine.
    """
    waited, missed, pause = dict(jobs), set[int](), SHORTEST
    while waited:
        queue = queued() if is_in_slurm else None
        for number, job in list(waited.items()):
            gone = job.done() if not is_in_slurm else queue is not None and job.job_id not in queue
            # A file of another machine can come later than the news that the job is over.
            if sweeps.has_ended(sweep, number) or (gone and number in missed):
                del waited[number]
            elif gone:
                missed.add(number)
        time.sleep(pause if waited else 0)
        pause = min(LONGEST, pause * 1.1)


def queued() -> set[str] | None:
    """Own jobs in SLURM's queue: 12, or 12_3 in an array. None where it does not answer."""
    command = ["squeue", "--noheader", "--array", "--user", getpass.getuser(), "--format=%F %K"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        log.warning("squeue does not answer: %s", done.stderr.strip())
        return None
    lines = [line.split() for line in done.stdout.splitlines() if line.strip()]
    return {job if index == "N/A" else f"{job}_{index}" for job, index in lines}


def _executor(launcher: Any) -> Any:
    """What submits, with the launcher's parameters."""
    import submitit
    from hydra_plugins.hydra_submitit_launcher.config import BaseQueueConf

    shared, own = set(BaseQueueConf.__dataclass_fields__), f"{launcher._EXECUTOR}_"
    given = launcher.params
    timeouts = {f"{own}max_num_timeout": given[key] for key in ("max_num_timeout",) if key in given}
    executor = submitit.AutoExecutor(
        folder=given["submitit_folder"], cluster=launcher._EXECUTOR, **timeouts
    )
    executor.update_parameters(
        **{key if key in shared else own + key: v for key, v in given.items() if key not in INIT}
    )
    return executor
