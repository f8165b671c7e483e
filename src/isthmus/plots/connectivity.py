"""All figures of lines, or of a plane, in one folder."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from isthmus.plots import (
    barrier_map,
    barriers,
    compared,
    files,
    further_steps,
    line,
    lines,
    measures,
    pairs,
    plane,
)
from isthmus.plots.files import Drawing

PANELS = 24  # that one figure of many pairs has; more pairs have several


def save_lines(
    points: pd.DataFrame, per_child: pd.DataFrame, intervals: pd.DataFrame, folder: Path
) -> list[Path]:
    """Draw what the tables of lines allow, and write it.

    A single pair is drawn in detail, several as small panels. Figures against k1 or k2 are drawn
    where there are several of them.

    Args:
        points: of the lines, as `interpolate.py` writes them: lines.csv.
        per_child: barriers of each child, likewise: barriers.csv.
        intervals: over children, likewise: intervals.csv.
        folder: made when absent.

    Returns:
        The files, see `files.save`.
    """
    return files.save_all(drawings(points, per_child, intervals), folder)


def drawings(
    points: pd.DataFrame, per_child: pd.DataFrame, intervals: pd.DataFrame
) -> Iterator[Drawing]:
    """What the tables of lines allow; see `save_lines`."""
    yield from _of_lines(points)
    yield from _of_grid(per_child, intervals)


def save_plane(points: pd.DataFrame, networks: pd.DataFrame, folder: Path) -> list[Path]:
    """Draw a plane, and write it.

    Args:
        points: of the plane, as `interpolate.py` writes them: plane.csv.
        networks: in the plane or projected into it, likewise: plane_networks.csv.
        folder: made when absent.

    Returns:
        The files, see `files.save`.
    """
    return files.save_all(drawings_of_plane(points, networks), folder)


def drawings_of_plane(points: pd.DataFrame, networks: pd.DataFrame) -> Iterator[Drawing]:
    """The only figure of a plane; see `save_plane`."""
    yield Drawing("plane", plane.table(points, networks), plane.draw)


def _of_lines(points: pd.DataFrame) -> Iterator[Drawing]:
    found = pairs.found(points)
    treatments = pairs.treatments(points)
    if len(found) == 1:
        (pair,) = found
        of_pair = [pairs.file_name(points, pair)] if pair else []
        for treatment in treatments:
            drawn = line.table(points, pair, *treatment)
            yield Drawing("_".join(["line", *of_pair, *treatment]), drawn, line.draw)
        if len(treatments) > 1:
            drawn = compared.table(points, pair)
            yield Drawing("_".join(["compared", *of_pair]), drawn, compared.draw)
        return
    for treatment in treatments:
        for metric in measures.METRICS:
            drawn = lines.table(points, metric, *treatment)
            name = "_".join(["lines", *treatment, metric])
            several = pairs.found(drawn)
            for start in range(0, len(several), PANELS):
                page = pairs.among(drawn, several[start : start + PANELS])
                end = f"_{start // PANELS + 1}" if start else ""
                yield Drawing(name + end, page, lines.draw)


def _of_grid(per_child: pd.DataFrame, intervals: pd.DataFrame) -> Iterator[Drawing]:
    intervals = intervals[intervals["k1"].notna()]
    for treatment in pairs.treatments(intervals):
        treated = pairs.treated(intervals, *treatment)
        several_k1, several_k2 = (treated[k].nunique() > 1 for k in ("k1", "k2"))
        for split in pairs.splits(treated):
            for grid, end in _grids(treated[treated["split"] == split], [*treatment, split]):
                of = (split, *treatment, grid)
                if several_k1:
                    drawn = barriers.table(intervals, per_child, *of)
                    yield Drawing(f"barriers_{end}", drawn, barriers.draw)
                if several_k2:
                    drawn = further_steps.table(intervals, per_child, *of)
                    yield Drawing(f"further_steps_{end}", drawn, further_steps.draw)
                if several_k1 and several_k2:
                    drawn = barrier_map.table(intervals, *of)
                    yield Drawing(f"barrier_map_{end}", drawn, barrier_map.draw)


def _grids(table: pd.DataFrame, names: list[str]) -> Iterator[tuple[pairs.Grid, str]]:
    """Each grid of the lines of a table, and what the names of its figures end in."""
    table, ends = pairs.fill_columns(table), list[str]()
    for grid in pairs.grids(table):
        end = "_".join(names)
        if ends:  # all but the grid of most lines say which they are
            (count, *_) = pairs.select_grid(table, grid)["num_alphas"]
            end += f"_{count}_alphas"
        same = sum(other.startswith(end) for other in ends[1:])
        ends.append(end)
        yield grid, f"{end}_{same + 1}" if same else end
