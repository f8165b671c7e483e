"""All figures of `interpolate.py`: of lines, of a grid of k1 and k2, or of a plane."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from isthmus.plots import barriers, files, frames, lines, plane
from isthmus.plots.files import Drawing

PANELS = 24  # of one figure of many pairs; more pairs need several figures


def save_lines(
    points: pd.DataFrame, per_child: pd.DataFrame, intervals: pd.DataFrame, folder: Path
) -> list[Path]:
    """Draw and write all figures of the tables of lines.

    A single pair is drawn in detail, several as small panels. Figures against k1 or k2 are drawn
    if there are several of them.

    Args:
        points: of the lines, as `interpolate.py` writes them: lines.csv.
        per_child: barriers of each child: barriers.csv.
        intervals: over children: intervals.csv.
        folder: created if it does not exist.

    Returns:
        The files, see `files.save`.
    """
    return files.save_all(line_drawings(points, per_child, intervals), folder)


def line_drawings(
    points: pd.DataFrame, per_child: pd.DataFrame, intervals: pd.DataFrame
) -> Iterator[Drawing]:
    """All figures of the tables of lines; see `save_lines`."""
    yield from _line_figures(points)
    yield from _grid_figures(per_child, intervals)


def save_plane(points: pd.DataFrame, networks: pd.DataFrame, folder: Path) -> list[Path]:
    """Draw and write the figure of a plane.

    Args:
        points: of the plane, as `interpolate.py` writes them: plane.csv.
        networks: in the plane or projected into it: plane_networks.csv.
        folder: created if it does not exist.

    Returns:
        The files, see `files.save`.
    """
    return files.save_all(plane_drawings(points, networks), folder)


def plane_drawings(points: pd.DataFrame, networks: pd.DataFrame) -> Iterator[Drawing]:
    """The only figure of a plane; see `save_plane`."""
    yield Drawing("plane", plane.plane_table(points, networks), plane.draw_plane)


def _line_figures(points: pd.DataFrame) -> Iterator[Drawing]:
    pairs = frames.list_pairs(points)
    treatments = frames.treatments(points)
    if len(pairs) == 1:
        (pair,) = pairs
        name_parts = [frames.pair_file_name(points, pair)] if pair else []
        for treatment in treatments:
            drawn = lines.line_table(points, pair, *treatment)
            yield Drawing("_".join(["line", *name_parts, *treatment]), drawn, lines.draw_line)
        if len(treatments) > 1:
            drawn = lines.compared_table(points, pair)
            yield Drawing("_".join(["compared", *name_parts]), drawn, lines.draw_compared)
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


def _grid_figures(per_child: pd.DataFrame, intervals: pd.DataFrame) -> Iterator[Drawing]:
    intervals = intervals[intervals["k1"].notna()]
    for treatment in frames.treatments(intervals):
        treated = frames.rows_of_treatment(intervals, *treatment)
        several_k1, several_k2 = (treated[k].nunique() > 1 for k in ("k1", "k2"))
        for split in frames.list_splits(treated):
            for grid, end in _grids(treated[treated["split"] == split], [*treatment, split]):
                selection = (split, *treatment, grid)
                if several_k1:
                    drawn = barriers.barriers_table(intervals, per_child, *selection)
                    yield Drawing(f"barriers_{end}", drawn, barriers.draw_barriers)
                if several_k2:
                    drawn = barriers.further_steps_table(intervals, per_child, *selection)
                    yield Drawing(f"further_steps_{end}", drawn, barriers.draw_further_steps)
                if several_k1 and several_k2:
                    drawn = barriers.barrier_map_table(intervals, *selection)
                    yield Drawing(f"barrier_map_{end}", drawn, barriers.draw_barrier_map)


def _grids(table: pd.DataFrame, names: list[str]) -> Iterator[tuple[frames.Grid, str]]:
    """Each grid of the lines of a table, and the suffix of its figures' names."""
    table, ends = frames.fill_columns(table), list[str]()
    for grid in frames.list_grids(table):
        end = "_".join(names)
        if ends:  # all but the grid of most lines are named
            (count, *_) = frames.select_grid(table, grid)["num_alphas"]
            end += f"_{count}_alphas"
        same = sum(other.startswith(end) for other in ends[1:])
        ends.append(end)
        yield grid, f"{end}_{same + 1}" if same else end
