"""Figures of loss and accuracy along lines between networks, and their barriers."""

import math
from collections import Counter
from collections.abc import Callable, Iterator
from functools import reduce
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from isthmus.connectivity import barriers
from isthmus.plots import frames, style
from isthmus.plots.files import Drawing
from isthmus.plots.panels import add_legend, make_grid, make_panels

EACH_CHILD, MEAN_CHILD, ONLY_CHILD, BETWEEN_FILES = "each child", "mean child", "child", "line"
EACH_MAIN, MEAN_MAIN = "each main branch", "mean main branch"
GROUP = [*frames.PAIR, *frames.TREATMENT, "split"]
LINES = [*GROUP, "child_seed", "alpha", "loss", "accuracy"]
MEASURED = ["alpha", "value", "chord", "excess", *frames.DEFINITIONS]
COLUMNS = [*GROUP, "metric", "curve", "seeds", *MEASURED]


def curves_table(
    lines: pd.DataFrame, metrics: tuple[str, ...] = ("loss", "accuracy")
) -> pd.DataFrame:
    """Curves of each child and of the mean over children, with chords and barriers.

    The mean is over the largest set of children with equally many points, at the alphas that they
    have in common; if there are several main branches, over the mean of each.

    Args:
        lines: as `interpolate.py` writes it; one row or more.
        metrics: loss (nats), accuracy or error (fractions).

    Returns:
        One row per point of a curve. `curve` is its name in the legend, `seeds` lists the children
        that it is the mean over (with the seed of their main branch, "1-2", if there are several).
        `chord` is the straight line between the ends of the curve, and `excess` how much worse than
        that the curve is (above it; an accuracy below it). `barrier` and `barrier_frankle` are
        those of this curve; of an accuracy, those of its error.

    Raises:
        ValueError: a curve does not go from alpha 0 to 1, or the table has other columns.
    """
    frames.check_columns(lines, LINES)
    lines = lines.assign(error=1 - lines["accuracy"])
    parts = []
    for keys, group in lines.groupby(GROUP, dropna=False, sort=False):
        named: dict[str, Any] = dict(zip(GROUP, keys, strict=True))
        children = points_by_child(group)
        for metric in metrics:
            for curve in curves_of_children(children, metric):
                parts.append(curve.assign(**named, metric=metric)[COLUMNS])
    return pd.concat(parts, ignore_index=True)


def points_by_child(group: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The points of each child by its seeds, alphas increasing; "" is the line between two files.

    Raises:
        ValueError: one does not go from alpha 0 to 1.
    """
    children = {}
    seeds = ["" if pd.isna(seed) else f"{int(seed)}" for seed in group["child_seed"]]
    if "global_seed" in group and group["global_seed"].nunique() > 1:
        mains = group["global_seed"].astype(int)
        seeds = [f"{main}-{child}" for main, child in zip(mains, seeds, strict=True)]
    for seed, points in group.assign(seeds=seeds).groupby("seeds", sort=False):
        name = str(seed)
        children[name] = points.sort_values("alpha")
        ends = tuple(children[name]["alpha"].iloc[[0, -1]])
        if ends != (0, 1):
            curve = f"child {name}" if name else "line"
            raise ValueError(
                f"{curve}, split {points['split'].iloc[0]}: alpha must go from 0 to 1, "
                f"got {ends[0]:g} to {ends[1]:g}"
            )
    return children


def curves_of_children(children: dict[str, pd.DataFrame], metric: str) -> list[pd.DataFrame]:
    """The curve of each child and, if there are several, of their mean."""
    drawn = [
        measured_rows(points["alpha"].to_numpy(), points[metric].to_numpy(), metric).assign(
            curve=EACH_CHILD, seeds=seed
        )
        for seed, points in children.items()
    ]
    if len(drawn) == 1:
        return [drawn[0].assign(curve=ONLY_CHILD if "" not in children else BETWEEN_FILES)]
    alike = _curves_of_equal_length(drawn)
    if len(alike) == 1:
        return [*drawn, alike[0].assign(curve=ONLY_CHILD)]
    alphas = reduce(np.intersect1d, [curve["alpha"].to_numpy() for curve in alike])
    by_main: dict[str, list[np.ndarray]] = {}
    for curve in alike:
        values = curve.set_index("alpha")["value"].reindex(alphas).to_numpy()
        by_main.setdefault(main_seed(curve["seeds"].iloc[0]), []).append(values)
    means = [np.mean(several, axis=0) for several in by_main.values()]
    mean = measured_rows(alphas, np.mean(means, axis=0), metric)
    seeds = frames.join_seeds(curve["seeds"].iloc[0] for curve in alike)
    return [*drawn, mean.assign(curve=MEAN_MAIN if len(means) > 1 else MEAN_CHILD, seeds=seeds)]


def _curves_of_equal_length(drawn: list[pd.DataFrame]) -> list[pd.DataFrame]:
    """The largest set of curves with equally many points; the finest if there are several."""
    counts = Counter(len(curve) for curve in drawn)
    chosen = max(counts, key=lambda length: (counts[length], length))
    return [curve for curve in drawn if len(curve) == chosen]


def main_seed(seeds: str) -> str:
    """Seed of the main branch in the seeds of a child; "" if there is only one."""
    return seeds.split("-")[0] if "-" in seeds else ""


def measured_rows(alphas: np.ndarray, values: np.ndarray, metric: str) -> pd.DataFrame:
    """One curve with its chord and barriers.

    Args:
        alphas: (points,), increasing from 0 to 1.
        values: (points,), of `metric`.
        metric: loss, accuracy or error.
    """
    chord = values[0] + alphas * (values[-1] - values[0])
    chord[-1] = values[-1]  # exactly
    worse = -1 if metric == "accuracy" else 1
    excess = barriers.excess(worse * values, alphas) + 0.0  # not -0.0
    curve = pd.DataFrame({"alpha": alphas, "value": values, "chord": chord, "excess": excess})
    drawn = [each for each in barriers.BARRIERS if each.caption]
    measured = {each.name: float(each.measure(worse * values, alphas)) for each in drawn}
    return curve.assign(**measured)


def main_curves(drawn: pd.DataFrame) -> pd.DataFrame:
    """The curves on which barriers are marked: of a mean, or of the only child."""
    return drawn[~drawn["curve"].isin([EACH_CHILD, EACH_MAIN])]


def curve_label(drawn: pd.DataFrame) -> str:
    """Label of a curve: "mean of 3 children"; empty for a line between two files."""
    first = main_curves(drawn).iloc[0]
    if first["curve"] == BETWEEN_FILES:
        return ""
    seeds = str(first["seeds"]).split()
    if first["curve"] == MEAN_MAIN:
        return f"mean of {len(set(map(main_seed, seeds)))} main branches"
    return f"mean of {len(seeds)} children" if len(seeds) > 1 else "one child"


CHORD: dict[str, Any] = {"color": "0.35", "linestyle": (0, (4, 3)), "linewidth": 1.0}
MARKS: dict[str, dict[str, Any]] = {  # a stroke with a bar at either end
    "barrier": {"color": "#cc3311", "linewidth": 1.8, "marker": "_", "markersize": 7},
    "barrier_frankle": {"color": "#0077bb", "linewidth": 1.8, "marker": "_", "markersize": 7},
}
RIGHT_OF_LINE = 1.05  # alpha of the second barrier's mark, so that it never hides the first


def line_table(
    lines: pd.DataFrame, pair: frames.Pair = None, align: str = "none", bn: str = "reset"
) -> pd.DataFrame:
    """Table of the figure: the curves of one pair, their chords and barriers.

    Args:
        lines: as `interpolate.py` writes it.
        pair: k1 and k2 in epochs; None is the line between two files.
        align: none, weights or activations.
        bn: batch-norm statistics: reset, average, keep or repair.

    Returns:
        See `curves_table`.

    Raises:
        ValueError: there is nothing to draw; see `curves_table`.
    """
    frames.check_columns(lines, LINES)
    return curves_table(frames.rows_of_treatment(frames.rows_of_pair(lines, pair), align, bn))


def draw_line(drawn: pd.DataFrame) -> Figure:
    """Draw loss and accuracy, one row per split; children thin, their mean bold.

    The barriers are marked on the bold curve, and are those of the bold curve; the mean of the
    children's barriers is in the legend. `barrier_frankle` is marked at the right of the panel.
    """
    figure, panels = draw_splits(drawn, draw_line_panel, 7.6, 2.7, 1.1)
    for axes in panels[-1]:
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
    names = drawn["curve"].drop_duplicates().tolist()
    handles = [Line2D([], [], **look_of(name), label=name) for name in names]
    handles.append(Line2D([], [], **CHORD, label="chord"))
    handles += [Line2D([], [], **MARKS[name], label=frames.DEFINITIONS[name]) for name in MARKS]
    add_legend(figure, handles, line_heading(drawn), columns=2)
    return figure


def draw_splits(
    drawn: pd.DataFrame,
    draw: Callable[[Axes, pd.DataFrame], None],
    width: float,
    height: float,
    around: float,
) -> tuple[Figure, np.ndarray]:
    """Draw a row of panels per split, loss and accuracy.

    Args:
        drawn: the table of a figure.
        draw: draws the rows of one panel.
        width: of the figure, in inches.
        height: of a panel, in inches.
        around: height of what is not a panel, in inches.

    Returns:
        The figure and its panels, (splits, 2).
    """
    splits = frames.list_splits(drawn)
    figure, panels = make_panels(len(splits), 2, (width, height * len(splits) + around))
    for split, row in zip(splits, panels, strict=True):
        for metric, axes in zip(("loss", "accuracy"), row, strict=True):
            draw(axes, drawn[(drawn["split"] == split) & (drawn["metric"] == metric)])
            axes.set_ylabel(f"{split} {metric} ({style.UNITS[metric]})")
    for axes in panels[-1]:
        frames.alpha_axis(axes, drawn)
    return figure, panels


def look_of(curve: str) -> dict[str, Any]:
    """Line style of a curve."""
    if curve == EACH_CHILD:
        return {**style.EACH_CHILD, "marker": "None"}
    return {**style.MEAN_CHILD, "linewidth": 1.6, "markersize": 3}


def draw_line_panel(axes: Axes, panel: pd.DataFrame) -> None:
    """Draw the curves of one split and one metric."""
    each = panel[panel["curve"] == EACH_CHILD]
    for _, child in each.groupby("seeds", sort=False):
        axes.plot(child["alpha"], child["value"], **look_of(EACH_CHILD))
    bold = main_curves(panel)
    axes.plot(bold["alpha"], bold["value"], **look_of(bold["curve"].iloc[0]))
    axes.plot(bold["alpha"], bold["chord"], **CHORD)
    marks = draw_marks(axes, bold)
    for name, mark in marks.items():
        mark.set_label(line_label(name, bold, each))
    axes.legend(
        handles=list(marks.values()),
        loc="lower left",
        bbox_to_anchor=(-0.02, 1),
        fontsize="small",
        handlelength=1.2,
    )


def draw_marks(axes: Axes, bold: pd.DataFrame) -> dict[str, Line2D]:
    """Draw both barriers of one curve: from the chord, and from the mean of the ends."""
    worst = bold.iloc[int(bold["excess"].fillna(0).argmax())]
    (barrier,) = axes.plot(
        2 * [worst["alpha"]], [worst["chord"], worst["value"]], **MARKS["barrier"], zorder=3
    )
    accuracy = bold["metric"].iloc[0] == "accuracy"
    worse = -bold["value"] if accuracy else bold["value"]
    top = bold.iloc[int(worse.fillna(-math.inf).argmax())]
    base = (bold["value"].iloc[0] + bold["value"].iloc[-1]) / 2
    guide = {"color": MARKS["barrier_frankle"]["color"], "linestyle": ":", "linewidth": 0.9}
    axes.plot([0.5, RIGHT_OF_LINE], [base, base], **guide)  # it crosses the chord half way
    axes.plot([top["alpha"], RIGHT_OF_LINE], 2 * [top["value"]], **guide)
    ends = [base, top["value"]]
    (frankle,) = axes.plot(2 * [RIGHT_OF_LINE], ends, **MARKS["barrier_frankle"], zorder=3)
    return {"barrier": barrier, "barrier_frankle": frankle}


def line_label(name: str, bold: pd.DataFrame, each: pd.DataFrame) -> str:
    """Legend entry of a barrier of the bold curve, with the mean of the children's barriers."""
    suffix = " of error" if bold["metric"].iloc[0] == "accuracy" else ""
    text = f"{name}{suffix} {bold[name].iloc[0]:.3g}"
    if each.empty:
        return text
    heights = each.groupby("seeds")[name].first()[str(bold["seeds"].iloc[0]).split()]
    by_main = heights.groupby([main_seed(seeds) for seeds in heights.index]).mean()
    return f"{text} (children {by_main.mean():.3g})"


def line_heading(drawn: pd.DataFrame) -> str:
    """Title of the legend: pair, treatment and children."""
    if (drawn["curve"] == ONLY_CHILD).any():
        return f"{frames.figure_title(drawn)}, child seed {main_curves(drawn)['seeds'].iloc[0]}"
    if (drawn["curve"] == BETWEEN_FILES).all():
        return frames.figure_title(drawn)
    marks = "barriers: of the mean curve (in brackets the mean of the children's own)"
    return f"{frames.figure_title(drawn)}, {curve_label(drawn)}\n{marks}"


COLOURS = {"train": "#0072b2", "val": "#009e73", "test": "#d55e00"}
DASHES = {"train": "-", "val": ":", "test": (0, (4, 1.5))}


def lines_table(
    lines: pd.DataFrame, metric: str = "loss", align: str = "none", bn: str = "reset"
) -> pd.DataFrame:
    """Table of the figure: the excess over the chord along every line.

    Args:
        lines: as `interpolate.py` writes it.
        metric: loss (nats) or error (fraction).
        align: none, weights or activations.
        bn: batch-norm statistics: reset, average, keep or repair.

    Returns:
        See `curves_table`.

    Raises:
        ValueError: there is nothing to draw; see `curves_table`.
    """
    if metric not in ("loss", "error"):
        raise ValueError(f"metric: must be loss or error, got {metric}")
    frames.check_columns(lines, LINES)
    return curves_table(frames.rows_of_treatment(lines, align, bn), (metric,))


def draw_lines(drawn: pd.DataFrame) -> Figure:
    """Draw one panel per pair on common axes: children thin, their mean bold, a colour per split.

    The maximum of a curve is its `barrier`.
    """
    pairs = frames.list_pairs(drawn)
    figure, panels = make_grid(len(pairs), num_columns(drawn))
    for pair, axes in zip(pairs, panels, strict=True):
        draw_lines_panel(axes, frames.rows_of_pair(drawn, pair))
        axes.set_title(frames.pair_title(pair))
    metric = drawn["metric"].iloc[0]
    frames.alpha_axis(axes, drawn)
    figure.supxlabel(axes.get_xlabel())
    axes.set_xlabel("")
    figure.supylabel(f"{metric} above the chord ({frames.UNITS[metric]})")
    heading = f"{frames.treatment_label(drawn)}\nlargest value: barrier (Entezari et al., 2022)"
    add_legend(figure, panels, title=heading)
    return figure


def num_columns(drawn: pd.DataFrame) -> int | None:
    """Columns of panels: one per k2 if every k1 has every k2 and they are few; else None."""
    num_k1, num_k2 = (drawn[k].nunique() for k in ("k1", "k2"))
    whole = len(frames.list_pairs(drawn)) == num_k1 * num_k2
    return num_k2 if whole and 1 < num_k1 and 1 < num_k2 <= 6 else None


def draw_lines_panel(axes: Axes, panel: pd.DataFrame) -> None:
    """Draw the curves of one pair."""
    for split in frames.list_splits(panel):
        points = panel[panel["split"] == split]
        look: dict[str, Any] = {"color": COLOURS[split], "linestyle": DASHES[split]}
        for _, child in points[points["curve"] == EACH_CHILD].groupby("seeds"):
            thin: dict[str, Any] = {
                "linewidth": 0.6,
                "alpha": 0.6,
                "label": f"{split}, {EACH_CHILD}",
            }
            axes.plot(child["alpha"], child["excess"], **look, **thin)
        bold, suffix = main_curves(points), curve_label(points)
        label = f"{split}, {suffix}" if suffix else split
        axes.plot(bold["alpha"], bold["excess"], **look, linewidth=1.5, label=label)


def compared_table(lines: pd.DataFrame, pair: frames.Pair = None) -> pd.DataFrame:
    """Table of the figure: one curve per alignment and batch-norm treatment of one pair.

    Args:
        lines: as `interpolate.py` writes it.
        pair: k1 and k2 in epochs; None is the line between two files.

    Returns:
        See `curves_table`; without the single children if there are several.

    Raises:
        ValueError: there is nothing to draw; see `curves_table`.
    """
    frames.check_columns(lines, LINES)
    rows = frames.rows_of_pair(lines, pair)
    parts = [frames.rows_of_treatment(rows, *sort) for sort in frames.treatments(rows)]
    return main_curves(curves_table(pd.concat(parts))).reset_index(drop=True)


def draw_compared(drawn: pd.DataFrame) -> Figure:
    """Draw loss and accuracy, one row per split; barriers are in the legend of each panel."""
    height = 2.5 + 0.17 * len(frames.treatments(drawn))
    figure, _ = draw_splits(drawn, draw_compared_panel, 8.6, height, 1.0)
    chord = Line2D([], [], **CHORD, label="chord of each line")
    add_legend(figure, [chord], compared_heading(drawn), columns=1)
    return figure


def draw_compared_panel(axes: Axes, panel: pd.DataFrame) -> None:
    """Draw the curves of one split and one metric."""
    for place, (align, bn) in enumerate(frames.treatments(panel)):
        curve = frames.rows_of_treatment(panel, align, bn)
        first, colour = curve.iloc[0], style.COLOURS[place % len(style.COLOURS)]
        measured = ", ".join(f"{name} {first[name]:.3g}" for name in frames.DEFINITIONS)
        label = f"{align}, {bn}: {measured}"
        look = {**frames.marker(place), "markersize": 3.5, "markevery": every_nth(len(curve))}
        axes.plot(curve["alpha"], curve["value"], color=colour, **look, label=label)
        axes.plot(curve["alpha"], curve["chord"], **{**CHORD, "color": colour, "alpha": 0.6})
    suffix = " (of the error)" if panel["metric"].iloc[0] == "accuracy" else ""
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(-0.02, 1),
        fontsize="small",
        title=f"align, batch norm: barriers{suffix}",
        title_fontsize="small",
        alignment="left",
        labelspacing=0.25,
    )


def compared_heading(drawn: pd.DataFrame) -> str:
    """Title of the legend: the pair, and the definitions of the barriers."""
    (pair,) = frames.list_pairs(drawn)
    titles = [word for word in (frames.pair_title(pair), curve_label(drawn)) if word]
    return "\n".join([", ".join(titles) or "line", *frames.DEFINITIONS.values()])


def every_nth(count: int) -> int:
    """Interval between points with a marker."""
    return max(1, count // 12)


PANELS = 24  # of one figure of many pairs; more pairs need several figures


def make_line(points: pd.DataFrame) -> Iterator[Drawing]:
    """A single pair in detail, for each treatment."""
    for pair, name_parts in _only_pair(points):
        for treatment in frames.treatments(points):
            shown = line_table(points, pair, *treatment)
            yield Drawing("_".join(["line", *name_parts, *treatment]), shown, draw_line)


def make_lines(points: pd.DataFrame) -> Iterator[Drawing]:
    """Several pairs as small panels, for each treatment and each metric."""
    if len(frames.list_pairs(points)) == 1:
        return
    for treatment in frames.treatments(points):
        for metric in ("loss", "error"):
            drawn = lines_table(points, metric, *treatment)
            name = "_".join(["lines", *treatment, metric])
            several = frames.list_pairs(drawn)
            for start in range(0, len(several), PANELS):
                page = frames.rows_of_pairs(drawn, several[start : start + PANELS])
                end = f"_{start // PANELS + 1}" if start else ""
                yield Drawing(name + end, page, draw_lines)


def make_compared(points: pd.DataFrame) -> Iterator[Drawing]:
    """The treatments of a single pair, if there are several."""
    for pair, name_parts in _only_pair(points):
        if len(frames.treatments(points)) > 1:
            shown = compared_table(points, pair)
            yield Drawing("_".join(["compared", *name_parts]), shown, draw_compared)


def _only_pair(points: pd.DataFrame) -> Iterator[tuple[frames.Pair, list[str]]]:
    """The pair, and what it is called in names of files, if there is only one."""
    pairs = frames.list_pairs(points)
    if len(pairs) == 1:
        yield pairs[0], [frames.pair_file_name(points, pairs[0])] if pairs[0] else []
