"""The cores of this machine that a job may use."""

import os

from isthmus import torchrun


def threads(workers: int) -> int:
    """CPU threads of a job that was not told how many: OMP_NUM_THREADS, else its share of cores.

    Args:
        workers: see `share`.
    """
    said = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()  # "4,2": of nested levels
    is_of_torchrun = said == "1" and torchrun.is_on()  # which sets it where the user did not
    if said.isdigit() and int(said) > 0 and not is_of_torchrun:
        return int(said)
    return share(workers)


def share(workers: int) -> int:
    """The cores for each of several workers, at least 1.

    Args:
        workers: how many there are beside each other; a negative number: as many as cores.
    """
    own = int(os.environ.get("SLURM_CPUS_PER_TASK", _allowed()))
    return max(1, own // workers) if workers > 0 else 1


def _allowed() -> int:
    """Cores that this process may run on, where the system says; else all of them."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1
