"""Locks on folders, and folders of jobs that failed before writing results."""

import contextlib
import errno
import logging
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

log = logging.getLogger(__name__)

NAME = "run.lock"
# Errors of a file system without locks; the last is that of NFS without locks for this mode.
NO_LOCKS = {
    getattr(errno, name)
    for name in ("ENOLCK", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EINVAL", "EBADF")
    if hasattr(errno, name)
}


@contextlib.contextmanager
def exclusive(folder: Path, written: Sequence[Path]) -> Iterator[None]:
    """Lock a folder for one job: another job that needs it waits.

    Args:
        folder: created when it does not exist.
        written: folders that are written to only under this lock; temporary files that a killed
            job has left there are removed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with hold(folder / NAME, f"waiting: another job works in {folder}"):
        for leftover in (path for folder in written for path in folder.glob(".*.tmp")):
            leftover.unlink(missing_ok=True)
        yield


@contextlib.contextmanager
def hold(path: Path, waiting: str | None = None) -> Iterator[None]:
    """Hold the lock of a file, for one job at a time; warn where the file system has no locks.

    Args:
        path: of its file.
        waiting: line to log when another job holds it.
    """
    lock = FileLock(path)
    try:
        try:
            lock.acquire(blocking=False)
        except Timeout:
            if waiting is not None:
                log.info("%s", waiting)
            lock.acquire()
    except (OSError, NotImplementedError) as error:  # the second: older versions, for ENOSYS
        _warn_or_raise(path, error)
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def hold_shared(folder: Path) -> Iterator[None]:
    """Hold a shared lock of a folder, as several jobs can, which keeps out `exclusive`.

    Where there is no `fcntl`, on Windows, this does nothing.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    # NFS takes a shared lock only of a file that can be read, an exclusive one of one that can be
    # written.
    with (folder / NAME).open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH)
        except OSError as error:
            _warn_or_raise(folder / NAME, error)
        yield


def _warn_or_raise(path: Path, error: Exception) -> None:
    """Warn of the consequences where a file system has no locks; raise any other error again."""
    if isinstance(error, OSError) and error.errno not in NO_LOCKS:
        if error.filename is None:
            error.filename = str(path)
        raise error
    reason = error.strerror if isinstance(error, OSError) else "not supported"
    log.warning(
        "%s cannot be locked on this file system (%s): start one job at a time in %s; two at once "
        "would overwrite each other's files",
        path,
        reason,
        path.parent,
    )


@contextmanager
def folder_unless_error(folder: Path) -> Iterator[None]:
    """Create a folder besides that of the job; an error that leaves it empty removes it again."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except Exception:
        discard_if_empty(folder)
        raise


def discard_if_empty(folder: Path) -> None:
    """Remove the folder of a job that wrote nothing but its configuration, log and locks."""
    if not folder.is_dir():
        return
    files = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    if all(".hydra" in file.parts or file.suffix in (".log", ".lock") for file in files):
        with suppress(OSError, Timeout), FileLock(folder / "run.lock", blocking=False):
            shutil.rmtree(folder, ignore_errors=True)  # no other job has begun to work in it
            folder.parent.rmdir()
