"""Tables of lines and their barriers, what of them is missing, and the summary. Imports no torch.

Numpy and pandas are imported where tables are written or read: a finished run needs neither.
"""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from functools import partial
from itertools import groupby, product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isthmus import tables
from isthmus.connectivity import chance_level, plan
from isthmus.connectivity.options import Line, LineGrid, LineOptions
from isthmus.connectivity.plan import AS_TRAINED, BranchPair, LineKey, LineRecords
from isthmus.training.metrics import METRIC_NAMES
from isthmus.vocabulary import SPLITS, split_to_show

if TYPE_CHECKING:
    import pandas as pd

    from isthmus.connectivity.barriers import Array

MOMENTS = ("k1", "k2", "total", "k1_step", "k2_step", "total_step")
HOW = ("align", "bn", "ends", "split", "alphas", "refine", "num_alphas", "metric")
LINE = (*MOMENTS, "global_seed", "child_seed")
LINES = (*LINE, "align", "bn", "split", "alpha", *METRIC_NAMES)
INTERVALS = (*MOMENTS, *HOW, "num_main_branches", "num_children", "measure", "mean") + (
    *("low", "high", "lowest", "highest"),
)
NAMES = ("lines", "barriers", "intervals")  # of the tables, in the order in which they are written

Row = dict[str, Any]


def measures() -> tuple[str, ...]:
    """Columns of what is measured of a line: its barriers, distance and cosine of its ends."""
    from isthmus.connectivity.barriers import barrier_names

    return (*barrier_names(), "distance", "cosine")


def columns(name: str) -> tuple[str, ...]:
    """The columns of a table: lines, barriers or intervals."""
    if name == "barriers":
        return (*LINE, *HOW, *measures())
    return LINES if name == "lines" else INTERVALS


def table_path(folder: Path, name: str) -> Path:
    """The file of a table: lines, barriers or intervals."""
    return folder / f"{name}.csv"


def complete_tables(folder: Path) -> None:
    """Write the tables of a folder, and those of its whole study, where they are out of date.

    They are `lines.csv`, `barriers.csv` and `intervals.csv`. Moments are in epochs, and with
    "_step" in iterations; they are empty for two saved networks.
    """
    records = LineRecords(folder)
    if records.files and not _are_current(folder, records.files):
        with records.lock():
            _write_tables(folder, [records])
    study = records.study
    if study is not None and not _are_current(study.folder, study.files):
        with study.lock():
            _write_tables(study.folder, study.branches)


def _are_current(folder: Path, files: Sequence[Path]) -> bool:
    return tables.are_current(folder, [table_path(folder, name) for name in NAMES], files)


def _write_tables(folder: Path, branches: Sequence[LineRecords]) -> None:
    """Write the tables of one or several main branches; other jobs may measure lines meanwhile."""
    digest = tables.digest_files(file for records in branches for file in records.files)
    lines = [{**line, "global_seed": each.seed} for each in branches for line in each.read()]
    lines.sort(key=lambda line: [line.get(name, 0) for name in ("k1_step", "k2_step")])
    of_lines = list(_barriers(lines))
    for name, rows in zip(NAMES, (_points(lines), of_lines, _intervals(of_lines)), strict=True):
        tables.write(table_path(folder, name), columns(name), rows)
    tables.write_stamp(folder, [table_path(folder, name) for name in NAMES], digest)


def _points(lines: Sequence[Line]) -> Iterator[Row]:
    """Every point of every line; the ends as trained, too, where they were treated differently."""
    written = set()
    for line, split, curve in _curves(lines):
        where = _where(line) | {"split": split}
        yield from (where | point for point in _metrics(curve["alphas"], curve))
        key = tuple(where[name] for name in (*LINE, "align", "split"))
        if "as_trained" not in curve or key in written:  # which other lines may have in common
            continue
        written.add(key)
        where |= {"bn": AS_TRAINED}
        yield from (where | point for point in _metrics([0.0, 1.0], curve["as_trained"]))


def _metrics(alphas: Sequence[float], curve: Mapping[str, Any]) -> Iterator[Row]:
    """Alpha and all metrics of every point of a curve."""
    names = [name for name in METRIC_NAMES if name in curve]
    for alpha, *numbers in zip(alphas, *(curve[name] for name in names), strict=True):
        yield {"alpha": alpha, **dict(zip(names, numbers, strict=True))}


def _barriers(lines: Sequence[Line]) -> Iterator[Row]:
    """The barriers of every line, on the grid of every request that was made of it."""
    import numpy as np

    from isthmus.connectivity.barriers import BARRIERS

    for line, split, curve in _curves(lines):
        separation = {"distance": line["distance"], "cosine": line["cosine"]}
        grids = dict.fromkeys(map(LineGrid.parse, curve["requests"]))
        for grid in sorted(grids, key=lambda grid: grid.order):
            alphas, losses, accuracies = points_on_grid(curve, grid)
            how: Row = dict(zip(("alphas", "refine"), grid.cells, strict=True))
            how |= {"split": split, "num_alphas": len(alphas)}
            both = np.stack([losses, 1 - accuracies])
            heights = {each.name: each.measure(both, alphas).tolist() for each in BARRIERS}
            for place, metric in enumerate(("loss", "error")):
                measured = {name: of_both[place] for name, of_both in heights.items()}
                yield _where(line) | how | {"metric": metric} | measured | separation


def points_on_grid(curve: Mapping[str, Any], grid: LineGrid) -> "tuple[Array, ...]":
    """The points of a curve that belong to the grid of one request.

    Args:
        curve: of a line on one split, with `alphas`, `loss` and `accuracy`.
        grid: of a request that it meets.

    Returns:
        Alphas, losses and accuracies, (points,) each.
    """
    import numpy as np

    from isthmus.connectivity.barriers import parse_alphas, refine_alphas

    known = np.array([curve[n] for n in ("alphas", "loss", "accuracy")], np.float64)

    def points_at(alphas: "Array") -> "Array":
        """(3, alphas), the known points there; another machine may have rounded differently."""
        return known[:, np.abs(known[0] - alphas[:, None]).argmin(axis=1)]

    alphas = grid.alphas if isinstance(grid.alphas, int) else list(grid.alphas)
    chosen = points_at(parse_alphas(alphas))  # (3, points)
    if grid.refine is not None:
        further = points_at(refine_alphas(chosen[0], chosen[1], grid.refine))
        both = np.concatenate([chosen, further], axis=1)
        chosen = both[:, both[0].argsort(kind="stable")]
    return tuple(chosen)


def _intervals(rows: Sequence[Row]) -> Iterator[Row]:
    """Means over lines of equal grids, with the 95 % interval of Student's t distribution.

    Main branches are independent of each other: the mean and its interval are over the mean of
    each. A single main branch has only the range of its lines.
    """
    from isthmus.connectivity.barriers import interval

    for _, group in groupby(sorted(rows, key=_interval_key), key=_interval_key):
        same = list(group)
        several: dict[Any, list[Row]] = {}
        for row in same:
            several.setdefault(row["global_seed"], []).append(row)
        how = {name: same[0].get(name) for name in (*MOMENTS, *HOW)}
        how |= {"num_main_branches": len(several), "num_children": len(same)}
        for measure in measures():
            values = [row[measure] for row in same]
            means = [sum(row[measure] for row in each) / len(each) for each in several.values()]
            over = interval(means)
            numbers = {"mean": float(over.mean), "lowest": min(values), "highest": max(values)}
            if len(means) > 1:
                numbers |= {"low": float(over.low), "high": float(over.high)}
            yield how | {"measure": measure} | numbers


def _interval_key(row: Row) -> tuple[Any, ...]:
    """Equal for lines that a mean is taken over; sorts them as the table does."""
    moment = [row.get(name) or 0 for name in ("k1_step", "k2_step")]
    grid = (int(row["num_alphas"]), row["alphas"], row["refine"])
    split = SPLITS.index(row["split"])
    return *moment, *plan.line_place(row), row["ends"], split, *grid, row["metric"] == "error"


def _where(line: Line) -> Row:
    """The columns that say which line a row belongs to."""
    names = (*MOMENTS, "global_seed", "child_seed", "align", "bn")
    return {name: line.get(name) for name in names} | {"ends": line.get("ends", AS_TRAINED)}


def _curves(lines: Sequence[Line]) -> Iterator[tuple[Line, str, Row]]:
    for line in lines:
        for split in SPLITS:
            if split in line["curves"]:
                yield line, split, line["curves"][split]


def summarize(folder: Path, lines: Sequence[LineKey], request: LineOptions) -> str:
    """The barriers of a request's lines, and of all main branches of the study if there are some.

    Args:
        folder: with its tables.
        lines: that are requested; all of them are measured.
        request: what was measured of them.
    """
    pairs = list(dict.fromkeys(pair for pair, _ in lines))
    study = LineRecords(folder).study
    folders = [folder, study.folder] if study else [folder]
    key = {
        "pairs": [pair and [pair.k1, pair.k2] for pair in pairs],
        **{name: getattr(request, name) for name in ("align", "bn", "splits")},
        "grid": request.grid.text,
    }
    sources = [table_path(each, "intervals") for each in folders]
    make = partial(_summarize_all, folders, pairs, request)
    return tables.summarize_once(folder, key, sources, make)


def _summarize_all(
    folders: Sequence[Path], pairs: Sequence[BranchPair | None], request: LineOptions
) -> str:
    first, *studies = folders
    several = [each for each in studies if num_main_branches(each, pairs, request) > 1]
    return "\n".join(summarize_barriers(each, pairs, request) for each in [first, *several])


def summarize_barriers(
    folder: Path, pairs: Sequence[BranchPair | None], request: LineOptions
) -> str:
    """Barriers of the loss and the error, as a table of text.

    Args:
        folder: with its tables: of one main branch, or of several.
        pairs: of moments that are shown; None for the line between two saved networks.
        request: whose lines are shown, on its own grid.
    """
    rows = _select_rows(folder, pairs, request)
    shown = [name for name in measures() if name != "cosine"]
    head = ["k1", "k2", "split", "metric"]
    lines = [[*head, *shown]]
    for _, group in rows.groupby([*head, "k1_step"], sort=False):
        by_measure = {row["measure"]: row for row in group.to_dict("records")}
        moment = [f"{group[name].iloc[0]}ep" if group[name].iloc[0] else "" for name in head[:2]]
        # A table of an older version lacks the newest definitions.
        known = [_number(by_measure[name]) if name in by_measure else "" for name in shown]
        lines.append([*moment, *group[head[2:]].iloc[0], *known])
    title = f"barriers (align={request.align}, bn={request.bn}){_means_note(rows)}"
    return "\n".join([title, *tables.align_columns(lines)])


def main_numbers(
    folder: Path, pairs: Sequence[BranchPair | None], request: LineOptions
) -> dict[str, float]:
    """Barriers of a request on the last of its splits, means over children, by their names.

    Args:
        folder: of one main branch, with its tables.
        pairs: of moments; None for the line between two saved networks.
        request: whose lines are taken.
    """
    from isthmus.connectivity.barriers import barrier_names

    rows, split = _select_rows(folder, pairs, request), split_to_show(request.splits)
    several = len(set(pairs)) > 1
    return {
        (f"k1={row['k1']} k2={row['k2']} " if several else "")
        + f"{split} {row['metric']} {row['measure']}": float(row["mean"])
        for row in rows.to_dict("records")
        if row["split"] == split and row["measure"] in barrier_names()
    }


def num_main_branches(
    folder: Path, pairs: Sequence[BranchPair | None], request: LineOptions
) -> int:
    """The largest number of main branches whose lines `summarize_barriers` shows."""
    rows = _select_rows(folder, pairs, request)
    return max(map(int, rows["num_main_branches"]), default=0)


def _select_rows(
    folder: Path, pairs: Sequence[BranchPair | None], request: LineOptions
) -> "pd.DataFrame":
    """The rows of `intervals.csv` that a request selects.

    Without lines of an older version, whose ends were treated differently, where there are others.
    """
    rows = tables.read(table_path(folder, "intervals"), INTERVALS)
    how = dict(zip(("alphas", "refine"), request.grid.cells, strict=True))
    for name, value in {"align": request.align, "bn": request.bn, **how}.items():
        rows = rows[rows[name] == value]
    rows = rows[rows["split"].isin(request.splits)]
    steps = {(str(p.k1), str(p.k2)) if p else ("", "") for p in pairs}
    moments = zip(rows["k1_step"], rows["k2_step"], strict=True)
    rows = rows[[moment in steps for moment in moments]]
    return rows if rows["ends"].nunique() < 2 else rows[rows["ends"] != AS_TRAINED]


def _means_note(rows: "pd.DataFrame") -> str:
    """Says what means are taken over, and which range is shown with them."""
    of_main, of_lines = (
        sorted(set(map(int, rows[name]))) for name in ("num_main_branches", "num_children")
    )
    if of_main[-1] > 1:
        several = " or ".join(map(str, of_main))
        return f", means of {several} main branches +- half the 95 % interval"
    if of_lines[-1] > 1:
        several = " or ".join(map(str, of_lines))
        return f", means of {several} branches (lowest to highest)"
    return ""


def _number(row: Mapping[Hashable, str]) -> str:
    mean = float(row["mean"])
    if row["high"]:
        return f"{mean:.4f} +- {float(row['high']) - mean:.4f}"
    if row["num_children"] == "1":
        return f"{mean:.4f}"
    return f"{mean:.4f} ({float(row['lowest']):.4f} to {float(row['highest']):.4f})"


def chance_message(
    folders: Sequence[Path], lines: Sequence[LineKey], request: LineOptions
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
        num_classes = line.get("num_classes", num_classes)
        for place, name in zip((0, -1), line["networks"], strict=True):
            curves = [line["curves"][split] for split in request.splits if split in line["curves"]]
            networks[name] = [curve["loss"][place] for curve in curves]
    return chance_level.chance_warning(networks, num_classes)
