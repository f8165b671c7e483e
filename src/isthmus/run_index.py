"""The index of all runs in a folder of outputs: one row per command and the folder it writes to.

Kept by every script, in `index.csv`: what a folder of hashes holds. A run that was killed could not
write so itself: it is one whose process is gone. Imports neither torch nor pandas.
"""

import contextlib
import csv
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from isthmus import tables
from isthmus.store import locks

NAME, LOCK = "index.csv", ".index.lock"
COLUMNS = ("script", "folder", "typed", "status", "result", "bytes", "date", "process")
KEY = ("script", "folder", "typed")
SHOWN = ("script", "folder", "status", "result", "size", "date", "typed")
LONGEST = {"result": 60}  # letters of a cell in the text
RUNNING, KILLED = "running", "killed"

Row = dict[str, str]


def note_run(outputs: Path, row: Mapping[str, str]) -> None:
    """Add the row of a run to the index, in place of that of the same command and folder.

    An index that cannot be written stops no run.

    Args:
        outputs: folder of all runs.
        row: with the columns of the key and others.
    """
    new = {name: str(row.get(name, "")) for name in COLUMNS}

    def change(rows: dict[tuple[str, ...], Row]) -> None:
        rows.pop(_key(new), None)
        rows[_key(new)] = new

    _change(outputs, change)


def drop_run(outputs: Path, row: Mapping[str, str]) -> None:
    """Remove the row of a run that left nothing behind."""

    def change(rows: dict[tuple[str, ...], Row]) -> None:
        rows.pop(_key(row), None)

    _change(outputs, change)


def begin_run(script: str, outputs: Path, folder: Path, typed: str) -> Row:
    """Note that a run has begun, in this process; returns its row."""
    row = {
        "script": script,
        "folder": os.path.relpath(folder, outputs),
        "typed": typed,
        "status": RUNNING,
        "date": time.strftime("%Y-%m-%d %H:%M:%S"),
        "process": this_process(),
    }
    note_run(outputs, row)
    return row


def this_process() -> str:
    """The machine and number of this process."""
    return f"{platform.node()}:{os.getpid()}"


def end_run(outputs: Path, row: Mapping[str, str], status: str, result: str) -> None:
    """Note how a run ended, and the size of its folder; one without a folder is removed.

    Args:
        outputs: folder of all runs.
        row: as `begin_run` returned it.
        status: done or failed.
        result: its main numbers, or the reason of a failure.
    """
    folder = outputs / row["folder"]
    if not folder.is_dir():
        drop_run(outputs, row)
    else:
        ended = {"status": status, "result": result, "bytes": str(size_of(folder))}
        note_run(outputs, {**row, **ended})


def size_of(folder: Path) -> int:
    """Bytes of all files in a folder and below."""
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):  # removed meanwhile
            total += path.stat().st_size if path.is_file() else 0
    return total


def read_index(outputs: Path) -> list[Row]:
    """The rows of an index, the oldest one first; runs whose process is gone are killed.

    Raises:
        FileNotFoundError: there is none.
    """
    file = outputs / NAME
    if not file.exists():
        raise FileNotFoundError(f"{file}: is not there; every script keeps it in its output_dir")
    with file.open(newline="") as lines:
        rows = [{name: row.get(name) or "" for name in COLUMNS} for row in csv.DictReader(lines)]
    return [row | {"status": KILLED} if _is_killed(row) else row for row in rows]


def summarize_index(rows: Sequence[Row]) -> str:
    """An index as a table of text."""
    cells = [
        [
            _size(row["bytes"]) if name == "size" else row[name][: LONGEST.get(name)]
            for name in SHOWN
        ]
        for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(SHOWN, *cells, strict=True)]
    lines = [zip(line, widths, strict=True) for line in [SHOWN, *cells]]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in line).rstrip() for line in lines
    )


def _size(size: str) -> str:
    if not size:
        return ""
    number, units = float(size), iter(("B", "kB", "MB", "GB"))
    unit = next(units)
    while number >= 1000 and (larger := next(units, None)):
        number, unit = number / 1000, larger
    return f"{number:.3g} {unit}"


def _change(outputs: Path, change: Callable[[dict[tuple[str, ...], Row]], None]) -> None:
    """Change the rows of an index, by their keys; nothing where it cannot be read or written."""
    with contextlib.suppress(OSError), locks.hold(outputs / LOCK):
        known = read_index(outputs) if (outputs / NAME).exists() else []
        rows = {_key(row): row for row in known}
        change(rows)
        if rows:
            tables.write(outputs / NAME, COLUMNS, list(rows.values()))
        else:  # the only run so far was refused, and leaves nothing
            for name in (NAME, LOCK):
                (outputs / name).unlink(missing_ok=True)


def _key(row: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(row[name] for name in KEY)


def _is_killed(row: Row) -> bool:
    machine, _, process = row["process"].rpartition(":")
    if row["status"] != RUNNING or machine != platform.node() or not process.isdigit():
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except OSError:  # of another user
        return False
    return False
