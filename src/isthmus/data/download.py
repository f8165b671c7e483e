"""Downloads of data sets, by one job at a time, complete or not at all."""

import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import TypeVar

from isthmus.store import locks
from isthmus.store.image_files import folder_contents

Parts = TypeVar("Parts")

TIMEOUT = 10.0  # seconds without an answer after which a server is considered unreachable
LOCK = ".download.lock"


def download(
    name: str,
    root: Path,
    belongs: str,
    attempt: Callable[[], Parts | None],
    fetch: Callable[[Path], None],
) -> Parts:
    """Download the files of a data set to `root`, and read it.

    Files are fetched into a temporary folder and moved when all are there, so that a killed job
    leaves no file that looks complete. Of several jobs one downloads, the others wait.

    Args:
        name: of the data set.
        root: folder for its files, created if it does not exist.
        belongs: one of the files below `root`, for the message.
        attempt: reads the data set from `root`, None where that is impossible.
        fetch: downloads its files into a folder.

    Raises:
        FileNotFoundError: the files cannot be downloaded, or cannot be read afterwards.
    """
    missing = [folder for folder in (root, *root.absolute().parents) if not folder.exists()]
    try:
        root.mkdir(parents=True, exist_ok=True)
        with locks.hold(root / LOCK):
            try:
                parts = attempt()  # another job may have downloaded them
                if parts is None:
                    fetch_into(root, fetch)
                    parts = attempt()
            finally:
                (root / LOCK).unlink(missing_ok=True)
        reason = "the files that arrived cannot be read"
    except (OSError, RuntimeError, HTTPException) as error:
        parts, reason = None, " ".join(str(error).split()) or type(error).__name__
    if parts is not None:
        return parts
    for folder in missing:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
    raise FileNotFoundError(
        f"{name} cannot be read from {root.absolute()} (which {folder_contents(root)}) and could "
        f"not be downloaded ({reason}). Put its files there, so that {root / belongs} is one of "
        "them, or name the folder that has them with dataset.root=FOLDER. "
        "dataset=digits needs no files"
    ) from None


def fetch_into(root: Path, fetch: Callable[[Path], None]) -> None:
    """Fetch files into a temporary folder inside `root`, then move each to its final path."""
    with tempfile.TemporaryDirectory(dir=root, prefix=".download-") as temporary:
        folder = Path(temporary)
        copy_archives(root, folder)
        with short_timeouts():
            fetch(folder)
        for file in sorted(folder.rglob("*")):
            if file.is_file() and file.suffix != ".gz":
                target = root / file.relative_to(folder)
                target.parent.mkdir(parents=True, exist_ok=True)
                file.replace(target)


def copy_archives(root: Path, folder: Path) -> None:
    """Copy archives that a user put into `root`; torchvision checks and unpacks them."""
    for pattern in ("*.gz", "*/raw/*.gz"):
        for archive in root.glob(pattern):
            copied = folder / archive.relative_to(root)
            copied.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(archive, copied)


@contextmanager
def short_timeouts() -> Iterator[None]:
    """Set `TIMEOUT` as the timeout of new connections; torchvision's would wait for minutes."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
