"""Who works in a folder: one job at a time, or several that none must take the folder from."""

import contextlib
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

from filelock import FileLock, Timeout

log = logging.getLogger(__name__)

NAME = "run.lock"


@contextlib.contextmanager
def exclusive(folder: Path, written: Sequence[Path]) -> Iterator[None]:
    """Hold a folder: another job that needs it waits.

    Args:
        folder: made when absent.
        written: folders that are written to under this lock alone; what a job that was killed
            while writing has left there is removed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / NAME)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        log.info("waiting: another job works in %s", folder)
        lock.acquire()
    try:
        for leftover in (path for place in written for path in place.glob(".*.tmp")):
            leftover.unlink(missing_ok=True)
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def shared(folder: Path) -> Iterator[None]:
    """Be one of several jobs in a folder, which nobody can hold alone meanwhile.

    Where there is no `fcntl`, on Windows, this does nothing.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    with (folder / NAME).open("a") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        yield
