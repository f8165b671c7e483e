"""The cores of this machine that a job may use."""

import os


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
