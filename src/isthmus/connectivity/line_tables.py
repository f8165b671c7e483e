"""Tables of all measured lines: their points, their barriers, and means over seeds."""

import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from isthmus import tables as core_tables
from isthmus.connectivity import barriers, plan
from isthmus.connectivity.barriers import BARRIERS, Array, barrier_names, parse_alphas
from isthmus.connectivity.plan import Line, LineGrid, LineRecords, LineStudy
from isthmus.store import reading
from isthmus.vocabulary import SPLITS

MOMENTS = ("k1", "k2", "total", "k1_step", "k2_step", "total_step")
HOW = ("align", "bn", "ends", "split", "alphas", "refine", "num_alphas", "metric")
MEASURES = (*barrier_names(), "distance", "cosine")
LINE = (*MOMENTS, "global_seed", "child_seed")
NUMBERS = ("num_main_branches", "num_children")
RANGES = ("low", "high", "lowest", "highest")
COLUMNS = {
    "lines": (*LINE, "align", "bn", "split", "alpha", "loss", "accuracy"),
    "barriers": (*LINE, *HOW, *MEASURES),
    "intervals": (*MOMENTS, *HOW, *NUMBERS, "measure", "mean", *RANGES),
}

Row = dict[str, Any]


def write_tables(folder: Path) -> None:
    """Write the tables of a folder: `lines.csv`, `barriers.csv`, `intervals.csv`.

    Moments are in epochs, and with "_step" in iterations; they are empty for two saved networks.
    """
    _write(folder, [LineRecords(folder)])


def write_pooled_tables(study: LineStudy) -> None:
    """Write the same tables for all main branches of a study; the caller holds its lock.

    Their time is that of the newest file read, which tells later whether they are up to date, even
    if lines of another main branch were measured while they were written.
    """
    files = study.files
    newest = max(file.stat().st_mtime_ns for file in files)
    _write(study.folder, study.branches)
    os.utime(table_path(study.folder, "intervals"), ns=(newest, newest))


def table_path(folder: Path, name: str) -> Path:
    """The file of a table: lines, barriers or intervals."""
    return folder / f"{name}.csv"


def _write(folder: Path, several: Sequence[LineRecords]) -> None:
    contents = [
        {**reading.read_json(file), "global_seed": each.seed}
        for each in several
        for file in each.files
    ]
    contents.sort(key=lambda content: [content.get(name, 0) for name in ("k1_step", "k2_step")])
    of_lines = [row for content in contents for row in _barriers(content)]
    tables = {
        "lines": (row for content in contents for row in _points(content)),
        "barriers": of_lines,
        "intervals": _intervals(of_lines),
    }
    for name, rows in tables.items():
        columns = COLUMNS[name]
        core_tables.write(
            table_path(folder, name), columns, ([row.get(n) for n in columns] for row in rows)
        )


def _points(content: Row) -> Iterator[Row]:
    """Every point of every line; the ends as trained, too, where they were treated differently."""
    written = set()
    for line, split, curve in _curves(content):
        where = _where(content, line) | {"split": split}
        points = zip(*(curve[name] for name in ("alphas", "loss", "accuracy")), strict=True)
        for alpha, loss, accuracy in points:
            yield where | {"alpha": alpha, "loss": loss, "accuracy": accuracy}
        key = (line["child_seed"], line["align"], split)
        if "as_trained" not in curve or key in written:  # which other lines may have in common
            continue
        written.add(key)
        both = (curve["as_trained"][name] for name in ("loss", "accuracy"))
        for alpha, loss, accuracy in zip((0.0, 1.0), *both, strict=True):
            numbers = {"alpha": alpha, "loss": loss, "accuracy": accuracy}
            yield where | {"bn": plan.AS_TRAINED} | numbers


def _barriers(content: Row) -> Iterator[Row]:
    """The barriers of every line, on the grid of every request that was made of it."""
    for line, split, curve in _curves(content):
        separation = {"distance": line["distance"], "cosine": line["cosine"]}
        grids = dict.fromkeys(map(LineGrid.parse, curve["requests"]))
        for grid in sorted(grids, key=lambda grid: grid.order):
            alphas, losses, accuracies = points_on_grid(curve, grid)
            how: Row = dict(zip(("alphas", "refine"), grid.cells, strict=True))
            how |= {"split": split, "num_alphas": len(alphas)}
            for metric, values in (("loss", losses), ("error", 1 - accuracies)):
                measured = {each.name: float(each.measure(values, alphas)) for each in BARRIERS}
                yield _where(content, line) | how | {"metric": metric} | measured | separation


def points_on_grid(curve: Mapping[str, Any], grid: LineGrid) -> tuple[Array, ...]:
    """The points of a curve that belong to the grid of one request.

    Args:
        curve: of a line on one split, with `alphas`, `loss` and `accuracy`.
        grid: of a request that it meets.

    Returns:
        Alphas, losses and accuracies, (points,) each.
    """
    known = np.array([curve[n] for n in ("alphas", "loss", "accuracy")], np.float64)
    alphas = grid.alphas if isinstance(grid.alphas, int) else list(grid.alphas)
    chosen = _points_at(known, parse_alphas(alphas))  # (3, points)
    if grid.refine is not None:
        further = barriers.refine_alphas(chosen[0], chosen[1], grid.refine)
        both = np.concatenate([chosen, _points_at(known, further)], axis=1)
        chosen = both[:, both[0].argsort(kind="stable")]
    return tuple(chosen)


def _points_at(known: Array, alphas: Array) -> Array:
    """(3, alphas), the known points there; another machine may have rounded alphas differently."""
    distances = np.abs(known[0] - alphas[:, None])
    return known[:, distances.argmin(axis=1)]


def _intervals(rows: Sequence[Row]) -> Iterator[Row]:
    """Means over lines of equal grids, with the 95 % interval of Student's t distribution.

    Main branches are independent of each other: the mean and its interval are over the mean of
    each. A single main branch has only the range of its lines.
    """
    for _, group in groupby(sorted(rows, key=_interval_key), key=_interval_key):
        same = list(group)
        several = [
            [row for row in same if row["global_seed"] == seed]
            for seed in dict.fromkeys(row["global_seed"] for row in same)
        ]
        how = {name: same[0].get(name) for name in (*MOMENTS, *HOW)}
        how |= {"num_main_branches": len(several), "num_children": len(same)}
        for measure in MEASURES:
            values = [row[measure] for row in same]
            means = [sum(row[measure] for row in each) / len(each) for each in several]
            interval = barriers.interval(means)
            numbers = {"mean": float(interval.mean), "lowest": min(values), "highest": max(values)}
            if len(means) > 1:
                numbers |= {"low": float(interval.low), "high": float(interval.high)}
            yield how | {"measure": measure} | numbers


def _interval_key(row: Row) -> tuple[Any, ...]:
    """Equal for lines that a mean is taken over; sorts them as the table does."""
    moment = [row.get(name) or 0 for name in ("k1_step", "k2_step")]
    grid = (int(row["num_alphas"]), row["alphas"], row["refine"])
    split = SPLITS.index(row["split"])
    return *moment, *plan.line_place(row), row["ends"], split, *grid, row["metric"] == "error"


def _where(content: Row, line: Line) -> Row:
    """The columns that say which line a row belongs to."""
    moments = {name: content.get(name) for name in (*MOMENTS, "global_seed")}
    how = {name: line[name] for name in ("child_seed", "align", "bn")}
    return moments | how | {"ends": line.get("ends", plan.AS_TRAINED)}


def _curves(content: Row) -> Iterator[tuple[Line, str, Row]]:
    for line in content["lines"]:
        for split in SPLITS:
            if split in line["curves"]:
                yield line, split, line["curves"][split]
