"""The barriers of a study in a few lines. Imports no torch."""

import csv
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from src import tables
from src.connectivity.records import Pair, Request

MEASURES = ("barrier", "barrier_frankle", "midpoint_gap")

Row = dict[str, str]


def of(folder: Path, pairs: Sequence[Pair | None], request: Request) -> str:
    """Barriers of the loss and the error, as a table of text.

    Args:
        folder: with its tables.
        pairs: of moments that are shown; None for the line between two saved networks.
        request: whose lines are shown.
    """
    steps = {(str(p.k1), str(p.k2)) if p else ("", "") for p in pairs}
    with (folder / "intervals.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if _is_meant(row, request)]
    rows = [row for row in rows if (row["k1_step"], row["k2_step"]) in steps]
    numbers_of_children = sorted({int(row["num_children"]) for row in rows})
    head = ["k1", "k2", "split", "metric", *MEASURES, "distance"]
    lines = [head]
    for _, group in groupby(rows, key=lambda row: [row[name] for name in (*head[:4], "k1_step")]):
        measures = {row["measure"]: row for row in group}
        row = measures["barrier"]
        where = [f"{row[name]}ep" if row[name] else "" for name in ("k1", "k2")]
        numbers = [_number(measures[measure]) for measure in (*MEASURES, "distance")]
        lines.append([*where, row["split"], row["metric"], *numbers])
    of_children = ""
    if numbers_of_children[-1] > 1:
        several = " or ".join(map(str, numbers_of_children))
        of_children = f", means of {several} branches +- half the 95 % interval"
    title = f"barriers (align={request.align}, bn={request.bn}){of_children}"
    return "\n".join([title, *tables.columns(lines)])


def _is_meant(row: Row, request: Request) -> bool:
    return (row["align"], row["bn"]) == (request.align, request.bn) and row[
        "split"
    ] in request.splits


def _number(row: Row) -> str:
    mean = float(row["mean"])
    return f"{mean:.4f} +- {float(row['high']) - mean:.4f}" if row["high"] else f"{mean:.4f}"
