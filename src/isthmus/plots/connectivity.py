"""All figures of lines, or of a plane, in one folder."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from isthmus.plots import barriers, files, frames, lines, plane
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
    return files.save_all(line_drawings(points, per_child, intervals), folder)


def line_drawings(
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
    return files.save_all(plane_drawings(points, networks), folder)


def plane_drawings(points: pd.DataFrame, networks: pd.DataFrame) -> Iterator[Drawing]:
    """The only figure of a plane; see `save_plane`."""
    yield Drawing("plane", plane.table(points, networks), plane.draw)


def _of_lines(points: pd.DataFrame) -> Iterator[Drawing]:
    found = frames.list_pairs(points)
    treatments = frames.treatments(points)
    if len(found) == 1:
        (pair,) = found
        of_pair = [frames.pair_file_name(points, pair)] if pair else []
        for treatment in treatments:
            drawn = lines.line_table(points, pair, *treatment)
            yield Drawing("_".join(["line", *of_pair, *treatment]), drawn, lines.draw_line)
        if len(treatments) > 1:
            drawn = lines.compared_table(points, pair)
            yield Drawing("_".join(["compared", *of_pair]), drawn, lines.draw_compared)
        return
    for treatment in treatments:
        for metric in barriers.METRICS:
            drawn = lines.lines_table(points, metric, *treatment)
            name = "_".join(["lines", *treatment, metric])
            several = frames.list_pairs(drawn)
            for start in range(0, len(several), PANELS):
                page = frames.rows_of_pairs(drawn, several[start : start + PANELS])
                end = f"_{start // PANELS + 1}" if start else ""
                yield Drawing(name + end, page, lines.draw_lines)


def _of_grid(per_child: pd.DataFrame, intervals: pd.DataFrame) -> Iterator[Drawing]:
    intervals = intervals[intervals["k1"].notna()]
    for treatment in frames.treatments(intervals):
        treated = frames.rows_of_treatment(intervals, *treatment)
        several_k1, several_k2 = (treated[k].nunique() > 1 for k in ("k1", "k2"))
        for split in frames.list_splits(treated):
            for grid, end in _grids(treated[treated["split"] == split], [*treatment, split]):
                of = (split, *treatment, grid)
                if several_k1:
                    drawn = barriers.barriers_table(intervals, per_child, *of)
                    yield Drawing(f"barriers_{end}", drawn, barriers.draw_barriers)
                if several_k2:
                    drawn = barriers.further_steps_table(intervals, per_child, *of)
                    yield Drawing(f"further_steps_{end}", drawn, barriers.draw_further_steps)
                if several_k1 and several_k2:
                    drawn = barriers.barrier_map_table(intervals, *of)
                    yield Drawing(f"barrier_map_{end}", drawn, barriers.draw_barrier_map)


def _grids(table: pd.DataFrame, names: list[str]) -> Iterator[tuple[frames.Grid, str]]:
    """Each grid of the lines of a table, and what the names of its figures end in."""
    table, ends = frames.fill_columns(table), list[str]()
    for grid in frames.list_grids(table):
        end = "_".join(names)
        if ends:  # all but the grid of most lines say which they are
            (count, *_) = frames.select_grid(table, grid)["num_alphas"]
            end += f"_{count}_alphas"
        same = sum(other.startswith(end) for other in ends[1:])
        ends.append(end)
        yield grid, f"{end}_{same + 1}" if same else end
