"""Tables on disk and as text, and summaries that are stored as they were printed.

Cells are text: what is read and written again is the same to the last digit. Imports pandas, which
takes a second, only where a table is read.
"""

import csv
import hashlib
import io
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from isthmus.store import reading
from isthmus.store.files import write_bytes, write_json
from isthmus.vocabulary import NOT_AVERAGED

if TYPE_CHECKING:
    import pandas as pd

Evaluation: TypeAlias = dict[str, dict[str, dict[str, float]]]  # by model, split and metric
Cells: TypeAlias = Sequence[Any] | Mapping[str, Any]  # of a row: in order of columns, or by column
TextRow: TypeAlias = dict[str, str]  # cells of a row by column

SUMMARY_VERSION = 1  # raised when any study prints another text of the same tables
STAMP = ".tables"  # file that says what the tables beside it were made from
SUMMARIES = ".summaries"  # folder of what was printed, one file per request


def read(path: Path, columns: Sequence[str] = ()) -> "pd.DataFrame":
    """A table of text cells, in the order of its rows; numbers by `astype`.

    Args:
        path: of a file that may not exist: then there are no rows.
        columns: that the table has, also if an older version wrote it without some of them; these
            are empty.

    Raises:
        OSError, ValueError: as in `reading.read_table`.
    """
    import pandas

    if not path.exists():
        return pandas.DataFrame(columns=list(columns), dtype=str)
    table = reading.read_table(path, dtype=str, keep_default_na=False)
    return table.fillna("").assign(**{name: "" for name in columns if name not in table})


def read_keys(path: Path, columns: Sequence[str]) -> list[tuple[str, ...]]:
    """Some cells of every row, to see what is missing, without importing pandas.

    Args:
        path: of a file that may not exist: then there are no rows.
        columns: which cells; one that an older version did not write is empty.
    """
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [tuple(row.get(name) or "" for name in columns) for row in csv.DictReader(file)]


def write(path: Path, columns: Sequence[str], rows: "Iterable[Cells] | pd.DataFrame") -> None:
    """Write a table, whole or not at all: floats in full, whole numbers as such, None empty.

    Args:
        path: of the file.
        columns: their names, in order.
        rows: cells in this order, or by column, where a missing one is empty; or a data frame.
    """
    write_bytes(path, csv_bytes([columns, *(_texts(columns, row) for row in _rows(rows))]))


def add_rows(
    path: Path,
    columns: Sequence[str],
    rows: Iterable[Cells],
    key: Sequence[str],
    order: Callable[[TextRow], Any],
) -> None:
    """Add rows to a table, in place of those that have the same key.

    Args:
        path: of a table that is made if it is missing; the caller holds its lock.
        columns: their names, in order.
        rows: as in `write`.
        key: columns that no two rows have in common.
        order: sort key of a row.
    """
    new = (dict(zip(columns, _texts(columns, row), strict=True)) for row in rows)
    known: Any = read(path, columns).to_dict("records")
    by_key = {tuple(row[name] for name in key): row for row in [*known, *new]}
    ordered = sorted(by_key.values(), key=order)
    write(path, columns, ordered)


def are_current(folder: Path, written: Sequence[Path], sources: Iterable[Path]) -> bool:
    """Whether tables are as they were written, from sources that have not changed since.

    Args:
        folder: whose stamp `write_stamp` has written.
        written: the tables.
        sources: files that they are made from.
    """
    stamp = folder / STAMP
    return stamp.exists() and stamp.read_text() == _stamp(folder, written, digest_files(sources))


def write_stamp(folder: Path, written: Sequence[Path], sources: str) -> None:
    """Write down what tables were made from, for `are_current`.

    Args:
        folder: of the tables.
        written: the tables.
        sources: `digest_files` of what they were made from, taken before it was read.
    """
    write_bytes(folder / STAMP, _stamp(folder, written, sources).encode())


def digest_files(files: Iterable[Path]) -> str:
    """Digest of the names, sizes and times of files; a missing file counts as such."""
    return _digest(sorted(map(_file_stamp, files)))


def _stamp(folder: Path, written: Sequence[Path], sources: str) -> str:
    return f"{sources} {digest_files(written)}\n"


def _digest(content: Any) -> str:
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _file_stamp(file: Path) -> list[Any]:
    status = file.stat() if file.exists() else None
    return [file.name, file.parent.name, *((status.st_mtime_ns, status.st_size) if status else ())]


def csv_bytes(lines: Iterable[Sequence[Any]]) -> bytes:
    """Lines of cells as the content of a CSV file, in UTF-8."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue().encode()


def _rows(rows: "Iterable[Cells] | pd.DataFrame") -> Iterable[Cells]:
    if isinstance(rows, Iterable) and not hasattr(rows, "to_dict"):
        return rows
    frame: Any = rows
    records: list[TextRow] = frame.astype(object).where(frame.notna(), None).to_dict("records")
    return records


def _texts(columns: Sequence[str], row: Cells) -> list[str]:
    """The cells of a row as text, in the order of the columns."""
    cells = [row.get(name) for name in columns] if isinstance(row, Mapping) else row
    return [_text(cell) for cell in cells]


def _text(cell: Any) -> str:
    if cell is None:
        return ""
    return repr(float(cell)) if isinstance(cell, float) else str(cell)


def summarize_once(
    folder: Path, request: Mapping[str, Any], tables: Sequence[Path], make: Callable[[], str]
) -> str:
    """The summary of a request: as it was stored, or made if a table has changed since.

    A finished run prints it without importing pandas. `summary.txt` is the one printed last.

    Args:
        folder: of the study.
        request: what the summary depends on besides the tables; as JSON.
        tables: that it is made from.
        make: makes it from them.
    """
    path = folder / SUMMARIES / f"{_digest([SUMMARY_VERSION, request])}.json"
    digest = digest_files(tables)  # before they are read
    stored = reading.read_json(path) if path.exists() else {}
    text = stored["text"] if stored.get("tables") == digest else make()
    readable = folder / "summary.txt"
    with suppress(OSError):  # a folder that may only be read has no use for them
        if stored.get("tables") != digest:
            write_json(path, {"tables": digest, "text": text})
        if not readable.exists() or readable.read_text() != f"{text}\n":
            write_bytes(readable, f"{text}\n".encode())
    return text


def check_finite(table: Evaluation, what: str) -> None:
    """Refuse numbers that are infinite or not a number.

    Args:
        table: of an evaluation.
        what: was evaluated, as typed.

    Raises:
        ValueError: naming the first number.
    """
    for splits in table.values():
        for split, numbers in splits.items():
            for metric, value in numbers.items():
                if not math.isfinite(value):
                    raise ValueError(f"{what}: its {split} {metric} is {value}")


def averaged_model(table: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str | None:
    """The averaged model of an evaluation by which a run is compared with others; or None.

    Of several, that of lowest validation loss; of lowest training loss without a validation split;
    the first one without either.

    Args:
        table: by model, split and metric.
    """
    averaged = [name for name in table if name not in NOT_AVERAGED and "/" not in name]

    def loss(name: str) -> float:
        known = (
            table[name][split].get("loss") for split in ("val", "train") if split in table[name]
        )
        first = next(known, None)
        return math.inf if first is None else first

    return min(averaged, key=loss) if averaged else None


def json_numbers(table: Evaluation) -> dict[str, Any]:
    """A table with None for numbers that are not finite, which JSON cannot hold."""
    return {
        model: {
            split: {metric: v if math.isfinite(v) else None for metric, v in numbers.items()}
            for split, numbers in splits.items()
        }
        for model, splits in table.items()
    }


def evaluation(table: Evaluation) -> str:
    """Text table of all metrics: one line per model, columns by split.

    Args:
        table: by model, then by split: `loss` in nats, `accuracy` as a fraction, and others.
    """
    first = next(iter(table.values()))
    cells = [(split, metric) for split, row in first.items() for metric in row]
    width = max(len(name) for name in [*table, "model"])
    head = "  ".join(f"{f'{split} {metric}':>{_width(metric)}}" for split, metric in cells)
    lines = [f"{'model':<{width}}  {head}"]
    for name, row in table.items():
        numbers = (f"{row[split][metric]:>{_width(metric)}.4f}" for split, metric in cells)
        lines.append(f"{name:<{width}}  " + "  ".join(numbers))
    return "\n".join(lines)


def _width(metric: str) -> int:
    return len(f"train {metric}")


def align_columns(lines: Sequence[Sequence[str]]) -> list[str]:
    """Lines of text with cells padded to columns; a column without values is left out.

    Args:
        lines: of equal length; the first holds the names of the columns.
    """
    columns = [column for column in zip(*lines, strict=True) if any(column[1:])]
    widths = [max(map(len, column)) for column in columns]
    return [
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        for row in zip(*columns, strict=True)
    ]


def result(summary: dict[str, Any], folder: str) -> str:
    """Text of a training's summary: the final evaluation, its length and its folder."""
    iteration, per_epoch = summary["iteration"], summary["iterations_per_epoch"]
    early = ", stopped early" if summary["stopped_early"] else ""
    return (
        f"{evaluation(summary['evaluation'])}\n"
        f"after {iteration} iterations ({iteration / per_epoch:g} epochs{early}); "
        f"results in {folder}"
    )
