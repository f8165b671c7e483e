"""Whether this process is one of several that `torchrun` started for one training.

Told from the environment that torchrun sets, without importing torch.
"""

import os


def is_on() -> bool:
    """Whether there is more than one process."""
    return {"RANK", "MASTER_ADDR"} <= set(os.environ) and size() > 1


def rank() -> int:
    """The number of this process, from 0, on all machines."""
    return int(os.environ.get("RANK", 0))


def local_rank() -> int:
    """The number of this process, from 0, on this machine."""
    return int(os.environ.get("LOCAL_RANK", 0))


def size() -> int:
    """How many processes there are."""
    return int(os.environ.get("WORLD_SIZE", 1))


def local_size() -> int:
    """How many of them are on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", 1))


def is_first() -> bool:
    """Whether this is the process that writes and talks."""
    return not is_on() or rank() == 0
