"""CPU cores and the processes that torchrun started. Imports no torch."""

import logging
import os
from collections.abc import Mapping
from typing import Any

MAX_THREADS = 1024  # of a job; with some 10,000 OpenMP ends the process

log = logging.getLogger(__name__)


def default_threads(workers: int) -> int:
    """Default number of CPU threads of a job: OMP_NUM_THREADS, else its share of the cores.

    Args:
        workers: see `share_of_cores`.
    """
    variable = (
        os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    )  # "4,2": of nested levels
    is_of_torchrun = variable == "1" and is_distributed()  # which sets it where the user did not
    if variable.isdigit() and int(variable) > 0 and not is_of_torchrun:
        return int(variable)
    return share_of_cores(workers)


def choose_threads(typed: int | None, result: Mapping[str, Any] | None, workers: int) -> int:
    """Number of CPU threads of a job.

    As typed; else that of the results that exist already, so that additions are computed in the
    same way; else the default.

    Args:
        typed: `runtime.num_threads`.
        result: the summary of existing results, if any.
        workers: see `share_of_cores`.
    """
    compare_threads(typed, result)
    if typed is not None:
        return typed
    if result and isinstance(result.get("num_threads"), int):
        return max(1, result["num_threads"])
    return default_threads(workers)


def compare_threads(typed: int | None, result: Mapping[str, Any] | None) -> None:
    """Warn if existing results were computed with another number of threads than typed."""
    before = (result or {}).get("num_threads")
    if typed is not None and before is not None and typed != before:
        log.warning(
            "runtime.num_threads=%d: the results that are there were computed with %d, and may "
            "differ in rounding from those of %d",
            *(typed, before, typed),
        )


def share_of_cores(workers: int) -> int:
    """Number of cores for each of several workers, at least 1.

    Args:
        workers: how many run at the same time; a negative number: as many as cores.
    """
    cores = int(os.environ.get("SLURM_CPUS_PER_TASK", _available_cores()))
    return max(1, cores // workers) if workers > 0 else 1


def _available_cores() -> int:
    """Cores that this process may run on, where the system says; else all of them."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def is_distributed() -> bool:
    """Whether there is more than one process."""
    return {"RANK", "MASTER_ADDR"} <= set(os.environ) and num_processes() > 1


def rank() -> int:
    """The number of this process, from 0, on all machines."""
    return int(os.environ.get("RANK", 0))


def local_rank() -> int:
    """The number of this process, from 0, on this machine."""
    return int(os.environ.get("LOCAL_RANK", 0))


def num_processes() -> int:
    """How many processes there are."""
    return int(os.environ.get("WORLD_SIZE", 1))


def num_local_processes() -> int:
    """How many of them are on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", 1))


def is_first() -> bool:
    """Whether this is the process that writes files and logs."""
    return not is_distributed() or rank() == 0
