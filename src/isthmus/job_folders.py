"""Folders that a job makes before it has something to put there."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout


@contextmanager
def made(folder: Path) -> Iterator[None]:
    """A folder besides that of the job; if an error leaves nothing in it, it is removed again."""
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
