"""Summary of barriers, as `interpolate.py` prints it. Imports no torch."""

import csv
from collections.abc import Sequence
from itertools import groupby, product
from pathlib import Path

from isthmus import tables
from isthmus.connectivity import chance_level
from isthmus.connectivity.plan import AS_TRAINED, BranchPair, LineKey, LineRecords, LineRequest

Row = dict[str, str]


def summarize_barriers(
    folder: Path, pairs: Sequence[BranchPair | None], request: LineRequest
) -> str:
    """Barriers of the loss and the error, as a table of text.

    Args:
        folder: with its tables: of one main branch, or of several.
        pairs: of moments that are shown; None for the line between two saved networks.
        request: whose lines are shown, on its own grid.
    """
    from isthmus.connectivity.barriers import barrier_names  # numpy takes a tenth of a second

    rows, shown = _rows(folder, pairs, request), (*barrier_names(), "distance")
    head = ["k1", "k2", "split", "metric", *shown]
    lines = [head]
    for _, group in groupby(rows, key=lambda row: [row[name] for name in (*head[:4], "k1_step")]):
        measures = {row["measure"]: row for row in group}
        row = next(iter(measures.values()))
        where = [f"{row[name]}ep" if row[name] else "" for name in ("k1", "k2")]
        numbers = [_number(measures[name]) if name in measures else "" for name in shown]
        lines.append([*where, row["split"], row["metric"], *numbers])
    title = f"barriers (align={request.align}, bn={request.bn}){_means_note(rows)}"
    return "\n".join([title, *tables.align_columns(lines)])


def num_main_branches(
    folder: Path, pairs: Sequence[BranchPair | None], request: LineRequest
) -> int:
    """The largest number of main branches whose lines `summarize_barriers` shows."""
    rows = _rows(folder, pairs, request)
    return max((int(row["num_main_branches"]) for row in rows), default=0)


def chance_message(
    folders: Sequence[Path], lines: Sequence[LineKey], request: LineRequest
) -> str | None:
    """One line that names the ends of lines that are at chance level, if any.

    Args:
        folders: in each of which the lines are.
        lines: that were requested.
        request: what was measured of them.
    """
    networks, num_classes = dict[str, list[float]](), None
    for store, (pair, child_seed) in product(map(LineRecords, folders), lines):
        line = store.line(pair, child_seed, request)
        if line is None:
            continue
        num_classes = store.read(pair).get("num_classes", num_classes)
        for place, name in zip((0, -1), line["networks"], strict=True):
            curves = [line["curves"][split] for split in request.splits if split in line["curves"]]
            networks[name] = [curve["loss"][place] for curve in curves]
    return chance_level.chance_warning(networks, num_classes)


def _rows(folder: Path, pairs: Sequence[BranchPair | None], request: LineRequest) -> list[Row]:
    """The rows of `intervals.csv` that a request selects.

    Without lines of an older version, whose ends were treated differently, where there are others.
    """
    steps = {(str(p.k1), str(p.k2)) if p else ("", "") for p in pairs}
    with (folder / "intervals.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if _is_selected(row, request)]
    rows = [row for row in rows if (row["k1_step"], row["k2_step"]) in steps]
    treatments = {row["ends"] for row in rows}
    return [row for row in rows if len(treatments) == 1 or row["ends"] != AS_TRAINED]


def _is_selected(row: Row, request: LineRequest) -> bool:
    how = [row[name] for name in ("align", "bn", "alphas", "refine")]
    return (
        how == [request.align, request.bn, *request.grid.cells] and row["split"] in request.splits
    )


def _means_note(rows: Sequence[Row]) -> str:
    """Says what means are taken over, and which range is shown with them."""
    of_main, of_lines = (
        sorted({int(row[name]) for row in rows}) for name in ("num_main_branches", "num_children")
    )
    if of_main[-1] > 1:
        several = " or ".join(map(str, of_main))
        return f", means of {several} main branches +- half the 95 % interval"
    if of_lines[-1] > 1:
        several = " or ".join(map(str, of_lines))
        return f", means of {several} branches (lowest to highest)"
    return ""


def _number(row: Row) -> str:
    mean = float(row["mean"])
    if row["high"]:
        return f"{mean:.4f} +- {float(row['high']) - mean:.4f}"
    if row["num_children"] == "1":
        return f"{mean:.4f}"
    return f"{mean:.4f} ({float(row['lowest']):.4f} to {float(row['highest']):.4f})"
