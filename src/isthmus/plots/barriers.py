"""Figures of barriers against shared and further training."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import AsinhNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import ScaledTranslation, Transform

from isthmus.plots import frames, lines, style
from isthmus.plots.files import Drawing
from isthmus.plots.panels import (
    add_heading,
    add_legend,
    draw_bars,
    draw_cells,
    make_panels,
    named_artists,
)

SORT = ["align", "bn", "split", "metric"]
INTERVALS = [*frames.PAIR, *SORT, "num_children", "measure", "mean", "low", "high"]
ENDS = ["low", "high", "lowest", "highest"]
MEASURES_COLUMNS = [*frames.PAIR, *SORT, "num_alphas", "measure", "curve", "seeds", "value", *ENDS]
KEYS = [*frames.PAIR, *SORT, "num_alphas"]
METRICS = ("loss", "error")
MEANS = {  # curve of the mean, by the curve of its members
    lines.EACH_MAIN: lines.MEAN_MAIN,
    lines.EACH_CHILD: lines.MEAN_CHILD,
    lines.ONLY_CHILD: lines.ONLY_CHILD,
}
FIRST = frames.Selection()
INTERVAL = "mean, 95 % interval"  # Student's t over their means
RANGE = "mean, lowest to highest"
LEGEND_COLUMNS = 4
APART = 3.0  # points between curves whose intervals are side by side at one x
ROOM = 14  # points that all of them may take


def barrier_means_table(
    intervals: pd.DataFrame,
    barriers: pd.DataFrame,
    measures: list[str],
    selection: frames.Selection,
) -> pd.DataFrame:
    """Mean barriers and their members: main branches if there are several, else children.

    Children of one main branch are not independent, so that they have no interval, but a range;
    an older table's intervals, which assumed independence, are left out.

    Args:
        intervals: as `interpolate.py` writes it.
        barriers: as `interpolate.py` writes it; of each child.
        measures: of barrier, barrier_frankle, midpoint_gap, distance, cosine.
        selection: of the lines.

    Returns:
        One row per point: `value`, the mean over all children or main branches in `seeds`; `low`
        and `high`, the 95 % confidence interval of the mean of several main branches; `lowest` and
        `highest`, the range of the members.

    Raises:
        ValueError: there is nothing to draw; a mean has no children; or a table has other
            columns.
    """
    frames.check_columns(intervals, INTERVALS)
    frames.check_columns(barriers, [*frames.PAIR, *SORT, "child_seed", *measures])
    means = select_barriers(intervals, selection).rename(columns={"mean": "value"})
    of_grid = replace(selection, grid=tuple(means[frames.GRID].iloc[0]))
    each = select_barriers(barriers, of_grid)
    each = each.assign(seeds=[f"{int(seed)}" for seed in each["child_seed"]])
    each = each.melt([*KEYS, "global_seed", "seeds"], measures, "measure")
    each = each.groupby(["k1", "k2"], group_keys=False)[list(each)].apply(group_by_main_branch)
    means = with_seeds(means[means["measure"].isin(measures)], each)
    drawn = pd.concat(
        [each[each["curve"] != lines.ONLY_CHILD].reindex(columns=MEASURES_COLUMNS), means]
    )
    order, ascending = ["metric", "measure", "k1", "k2", "curve"], [False, *4 * [True]]
    return drawn.sort_values(order, ascending=ascending, kind="stable", ignore_index=True)


def group_by_main_branch(pair: pd.DataFrame) -> pd.DataFrame:
    """The points of one pair: of each main branch if there are several, else of each child."""
    if pair["global_seed"].nunique() < 2:
        alone = pair["seeds"].nunique() == 1
        return pair.assign(curve=lines.ONLY_CHILD if alone else lines.EACH_CHILD)
    means = pair.groupby([*KEYS, "measure", "global_seed"], as_index=False)["value"].mean()
    seeds = means["global_seed"].map(lambda seed: f"{int(seed)}")
    return means.assign(curve=lines.EACH_MAIN, seeds=seeds)


def with_seeds(means: pd.DataFrame, each: pd.DataFrame) -> pd.DataFrame:
    """Add the seeds of their members, and the range of these, to means.

    Raises:
        ValueError: there are none of some mean.
    """
    by = ["k1", "k2", "metric", "measure"]
    members = each.groupby(by, as_index=False).agg(
        seeds=("seeds", lambda seeds: frames.join_seeds(set(seeds))),
        lowest=("value", "min"),
        highest=("value", "max"),
        curve=("curve", lambda found: MEANS[found.iloc[0]]),
    )
    means = means.drop(columns=["lowest", "highest"], errors="ignore")
    means = means.merge(members, on=by, how="left")
    lonely = means[means["seeds"].isna()]
    if len(lonely):
        pair = frames.pair_title(frames.list_pairs(lonely)[0])
        raise ValueError(f"the table of barriers has no child of {pair}, but there is its mean")
    several = means["curve"] == lines.MEAN_MAIN
    means = means.assign(**{end: means[end].where(several) for end in ("low", "high")})
    return means[MEASURES_COLUMNS]


def select_barriers(table: pd.DataFrame, selection: frames.Selection) -> pd.DataFrame:
    """The rows of pairs of one split, one treatment and one grid.

    Raises:
        ValueError: there are none; with what there is.
    """
    treated = frames.rows_of_treatment(table, selection.align, selection.bn)
    rows = frames.rows_where(treated, "split", selection.split)
    rows = rows[rows["k1"].notna()]
    if rows.empty:
        raise ValueError("nothing to draw: the table has a line between two files, but no pairs")
    return frames.select_grid(frames.fill_columns(rows), selection.grid)


def draw_curves(axes: Axes, panel: pd.DataFrame, along: str, by: str, numbers: list[float]) -> None:
    """Draw a curve of one measure for each value of `by`, with bars; its members are dots.

    The bars are the interval, with caps, or the range if there is none. Curves with bars are
    shifted sideways a little, so that bars do not hide each other.

    Args:
        axes: of the panel.
        panel: rows of one measure.
        along: the x axis: k1 or k2.
        by: the other one.
        numbers: all values of `by` in the figure, in order.
    """
    apart = min(APART, ROOM / len(numbers)) if has_bars(panel).any() else 0
    for place, (colour, number) in enumerate(
        zip(style.sequential(len(numbers)), numbers, strict=True)
    ):
        points = panel[panel[by] == number].sort_values(along)
        aside = apart * (place - (len(numbers) - 1) / 2) / 72  # inches
        moved = axes.transData + ScaledTranslation(aside, 0, axes.figure.dpi_scale_trans)
        means = lines.main_curves(points)
        each = points.drop(means.index)
        dots: dict[str, Any] = {"alpha": 0.5, "marker": ".", "markersize": 4, "linestyle": "None"}
        axes.plot(each[along], each["value"], color=colour, **dots, transform=moved)
        look: dict[str, Any] = {**frames.marker(place), "label": f"{by} = {style.epochs(number)}"}
        axes.plot(means[along], means["value"], color=colour, **look, transform=moved)
        draw_intervals(axes, means[has_bars(means)], along, colour, moved)
    for column in ("value", *ENDS):  # what is moved sideways does not set limits by itself
        finite = panel[np.isfinite(panel[column])]
        axes.update_datalim(finite[[along, column]].to_numpy())
    axes.margins(x=0.08)


def draw_intervals(
    axes: Axes, means: pd.DataFrame, along: str, colour: Any, moved: Transform
) -> None:
    """Draw the intervals of one curve, with caps, or the ranges if there are none."""
    has_interval = means["low"].notna()
    for part, low, high, cap in (
        (means[has_interval], "low", "high", 2.5),
        (means[~has_interval], "lowest", "highest", 0),
    ):
        if len(part):
            look: dict[str, Any] = {"elinewidth": 1, "capsize": cap, "transform": moved}
            draw_bars(axes, along, part, (low, high), colour, **look)


def has_bars(drawn: pd.DataFrame) -> pd.Series:
    """Mask of the rows that are means of several main branches or children."""
    return drawn["curve"].isin([lines.MEAN_MAIN, lines.MEAN_CHILD])


def barrier_legend(figure: Figure, axes: Axes, drawn: pd.DataFrame) -> None:
    """Add a legend above all panels: curves, dots and bars, and the definitions of barriers."""
    named = named_artists([axes])
    for each in (lines.EACH_MAIN, lines.EACH_CHILD):
        if (drawn["curve"] == each).any():
            look: dict[str, Any] = {"color": "0.5", "marker": ".", "markersize": 5}
            named.append(Line2D([], [], **look, linestyle="None", label=each))
    for mean, label in ((lines.MEAN_MAIN, INTERVAL), (lines.MEAN_CHILD, RANGE)):
        if (drawn["curve"] == mean).any():
            look = {"color": "0.3", "marker": "|", "markersize": 9}
            named.append(Line2D([], [], **look, linestyle="None", label=label))
    heading = [
        f"{drawn['split'].iloc[0]}, {frames.treatment_label(drawn)}",
        *frames.DEFINITIONS.values(),
    ]
    add_legend(figure, named, "\n".join(heading), LEGEND_COLUMNS)


def barriers_table(
    intervals: pd.DataFrame,
    barriers: pd.DataFrame,
    selection: frames.Selection = FIRST,
) -> pd.DataFrame:
    """Table of the figure: both barriers of loss and error of every pair.

    Args as of `barrier_means_table`.

    Raises:
        ValueError: there is nothing to draw, with what there is.
    """
    return barrier_means_table(intervals, barriers, list(frames.DEFINITIONS), selection)


def draw_barriers(drawn: pd.DataFrame) -> Figure:
    """Draw one row of panels per metric, one column per definition, one curve per k2."""
    numbers = sorted(set(drawn["k2"]))

    def draw_panel(axes: Axes, panel: pd.DataFrame) -> None:
        draw_curves(axes, panel, "k1", "k2", numbers)

    figure, panels = draw_definitions(drawn, draw_panel, 6.4)
    for axes in panels[1]:
        frames.epoch_axis(axes, "k1", drawn["k1"])
    barrier_legend(figure, panels[0, 0], drawn)
    return figure


def draw_definitions(
    drawn: pd.DataFrame,
    draw: Callable[[Axes, pd.DataFrame], None],
    height: float,
    metrics: Sequence[str] = METRICS,
) -> tuple[Figure, np.ndarray]:
    """Draw a row of panels per metric, a column per definition of a barrier.

    Args:
        drawn: the table of a figure.
        draw: draws the rows of one panel.
        height: of the figure, in inches.
        metrics: of the rows.

    Returns:
        The figure and its panels, (metrics, definitions).
    """
    names = list(frames.DEFINITIONS)
    size = (3.6 * len(names), height)
    figure, panels = make_panels(len(metrics), len(names), size, sharey="row")
    for metric, row in zip(metrics, panels, strict=True):
        for name, axes in zip(names, row, strict=True):
            draw(axes, drawn[(drawn["metric"] == metric) & (drawn["measure"] == name)])
            axes.set_title(name)
            axes.tick_params(labelleft=True)
        row[0].set_ylabel(f"barrier of the {metric} ({frames.UNITS[metric]})")
    return figure, panels


FURTHER_STEPS_APART = {"distance": "L2 distance", "cosine": "cosine similarity"}


def further_steps_table(
    intervals: pd.DataFrame,
    barriers: pd.DataFrame,
    selection: frames.Selection = FIRST,
) -> pd.DataFrame:
    """Table of the figure: barriers, distance and cosine of every pair.

    Args as of `barrier_means_table`; distances do not depend on the split.

    Raises:
        ValueError: there is nothing to draw, with what there is.
    """
    measures = [*frames.DEFINITIONS, *FURTHER_STEPS_APART]
    drawn = barrier_means_table(intervals, barriers, measures, selection)
    once = drawn["metric"] == "loss"  # distances stand in the rows of either metric
    return drawn[once | ~drawn["measure"].isin(FURTHER_STEPS_APART)].reset_index(drop=True)


def draw_further_steps(drawn: pd.DataFrame) -> Figure:
    """Draw barriers of the loss above those of the error, distance above cosine; a curve per k1."""
    columns = len(frames.DEFINITIONS) + 1
    figure, panels = make_panels(2, columns, (3.2 * columns, 6.2))
    for metric, row in zip(METRICS, panels, strict=True):
        for axes in row[1:-1]:
            axes.sharey(row[0])
        for name, axes in zip(frames.DEFINITIONS, row[:-1], strict=True):
            draw_further_panel(axes, drawn[drawn["metric"] == metric], name)
            axes.set_title(name)
        row[0].set_ylabel(f"barrier of the {metric} ({frames.UNITS[metric]})")
    for name, axes in zip(FURTHER_STEPS_APART, panels[:, -1], strict=True):
        draw_further_panel(axes, drawn, name)
        axes.set_title(f"{name} of the two networks")
        axes.set_ylabel(FURTHER_STEPS_APART[name])
    for axes in panels[1]:
        frames.epoch_axis(axes, "k2", drawn["k2"])
    barrier_legend(figure, panels[0, 0], drawn)
    return figure


def draw_further_panel(axes: Axes, drawn: pd.DataFrame, name: str) -> None:
    """Draw the curves of one measure."""
    panel = drawn[drawn["measure"] == name]
    draw_curves(axes, panel, "k2", "k1", sorted(set(drawn["k1"])))


BARRIER_MAP_COLUMNS = [*KEYS, "num_main_branches", "num_children", "measure", "mean"]
LINEAR_UP_TO = 0.01  # colours are linear in barriers below, and logarithmic above
NO_PAIR = "0.75"
CELL, LARGEST = 0.55, 6.0  # inches of a cell, and of a map
NUMBER = 0.42  # inches that a number needs
LABELS = 30  # of cells along an axis


def barrier_map_table(
    intervals: pd.DataFrame,
    selection: frames.Selection = FIRST,
) -> pd.DataFrame:
    """Table of the figure: the mean of both barriers, of loss and of error.

    Args:
        intervals: as `interpolate.py` writes it.
        selection: of the lines.

    Returns:
        One row per cell of a map.

    Raises:
        ValueError: there is nothing to draw; or the table has other columns.
    """
    frames.check_columns(intervals, INTERVALS)
    if "num_main_branches" not in intervals:  # of an older version
        intervals = intervals.assign(num_main_branches=1)
    rows = select_barriers(intervals, selection)
    rows = rows[rows["measure"].isin(frames.DEFINITIONS)]
    order, ascending = ["metric", "measure", "k1", "k2"], [False, True, True, True]
    return rows.sort_values(order, ascending=ascending, ignore_index=True)[BARRIER_MAP_COLUMNS]


def draw_barrier_map(drawn: pd.DataFrame) -> Figure:
    """Draw one row of maps per metric, one column per definition; a row shares its colours.

    Cells without a pair are grey. Numbers are written if they fit.
    """
    k1, k2 = (sorted(set(drawn[k])) for k in ("k1", "k2"))
    height, width = (min(max(CELL * len(k), 1.6), LARGEST) for k in (k1, k2))
    fits = min(width / len(k2), 2 * height / len(k1)) >= NUMBER
    columns = len(frames.DEFINITIONS)
    size = (columns * width + 2.2, 2 * height + 1.9)
    figure, panels = make_panels(2, columns, size, sharey=True)
    for metric, row in zip(METRICS, panels, strict=True):
        of_metric = drawn[drawn["metric"] == metric]
        largest = float(of_metric["mean"].max()) or LINEAR_UP_TO
        norm = AsinhNorm(linear_width=LINEAR_UP_TO, vmin=0, vmax=largest)
        for name, axes in zip(frames.DEFINITIONS, row, strict=True):
            cells = of_metric[of_metric["measure"] == name]
            table = cells.pivot(index="k1", columns="k2", values="mean")
            means = table.reindex(index=k1, columns=k2).to_numpy()
            mesh = draw_cells(axes, means, "cividis", norm, NO_PAIR)
            axes.set_title(f"{name} of the {metric}")
            if fits:
                write_numbers(axes, means, norm(means))
        scale = figure.colorbar(mesh, ax=list(row), format="{x:g}", pad=0.02)
        scale.set_label(f"mean barrier ({frames.UNITS[metric]})")
        scale.set_ticks(map_ticks(largest))
        scale.minorticks_off()
    label_cells(panels, k1, k2)
    add_heading(figure, map_heading(drawn))
    return figure


def write_numbers(axes: Axes, means: np.ndarray, shades: np.ndarray) -> None:
    """Write the mean into each cell, light on dark and dark on light."""
    for i, j in np.argwhere(np.isfinite(means)).tolist():
        colour = "white" if shades[i, j] < 0.4 else "black"
        axes.text(
            j, i, cell_text(means[i, j]), color=colour, fontsize="small", ha="center", va="center"
        )


def cell_text(mean: float) -> str:
    """A barrier in five characters or fewer, as a rule."""
    return f"{mean:.3f}" if mean < 10 else f"{mean:.3g}"


def map_ticks(largest: float) -> list[float]:
    """A few ticks of the colour scale, including the largest barrier."""
    steps = [0.01, 0.03, *(digit * 10.0**power for power in range(-1, 6) for digit in (1, 3))]
    return [0.0, *(step for step in steps if step < 0.8 * largest), float(f"{largest:.2g}")]


def label_cells(panels: np.ndarray, k1: list[float], k2: list[float]) -> None:
    """Label both axes, and as many of their cells as fit."""
    axes = panels[0, 0]  # the axes are one
    for numbers, label in ((k2, axes.set_xticks), (k1, axes.set_yticks)):
        positions = style.spread(len(numbers), LABELS)
        label(positions, [f"{numbers[position]:.3g}" for position in positions])
    for axes in panels[1]:
        axes.set_xlabel(frames.AXES["k2"])
    for axes in panels[:, 0]:
        axes.set_ylabel(frames.AXES["k1"])


def map_heading(drawn: pd.DataFrame) -> str:
    """Heading of the maps: split, treatment and number of seeds."""
    counts, mains = drawn["num_children"], drawn["num_main_branches"]
    children = f"mean over {style.span(counts.min(), counts.max())} child seeds"
    if counts.max() == 1:
        children = "one child seed"
    if mains.max() > 1:
        children = f"mean over {style.span(mains.min(), mains.max())} main branches"
    first = f"{drawn['split'].iloc[0]}, {frames.treatment_label(drawn)}, {children}"
    return "\n".join([first, *frames.DEFINITIONS.values()])


def make_barriers(barriers: pd.DataFrame, intervals: pd.DataFrame) -> Iterator[Drawing]:
    """Barriers against k1, if there are several, for each selection of lines."""
    for selection, end in _selections(intervals, "k1"):
        shown = barriers_table(intervals, barriers, selection)
        yield Drawing(f"barriers_{end}", shown, draw_barriers)


def make_further_steps(barriers: pd.DataFrame, intervals: pd.DataFrame) -> Iterator[Drawing]:
    """Barriers and distances against k2, if there are several, for each selection of lines."""
    for selection, end in _selections(intervals, "k2"):
        shown = further_steps_table(intervals, barriers, selection)
        yield Drawing(f"further_steps_{end}", shown, draw_further_steps)


def make_barrier_map(intervals: pd.DataFrame) -> Iterator[Drawing]:
    """Maps of barriers, if there are several k1 and k2, for each selection of lines."""
    for selection, end in _selections(intervals, "k1", "k2"):
        shown = barrier_map_table(intervals, selection)
        yield Drawing(f"barrier_map_{end}", shown, draw_barrier_map)


def _selections(intervals: pd.DataFrame, *along: str) -> Iterator[tuple[frames.Selection, str]]:
    """Each treatment, split and grid whose lines differ in `along`, and its part of names."""
    intervals = intervals[intervals["k1"].notna()]
    for align, bn in frames.treatments(intervals):
        treated = frames.rows_of_treatment(intervals, align, bn)
        if all(treated[k].nunique() > 1 for k in along):
            for split in frames.list_splits(treated):
                rows = treated[treated["split"] == split]
                for grid, end in _grids(rows, [align, bn, split]):
                    yield frames.Selection(split, align, bn, grid), end


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
