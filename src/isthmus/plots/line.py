"""Loss and accuracy along the line between two networks, with its chord and both barriers."""

import math
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from isthmus.plots import curves, pairs, rows, style

CHORD: dict[str, Any] = {"color": "0.35", "linestyle": (0, (4, 3)), "linewidth": 1.0}
MARKS: dict[str, dict[str, Any]] = {  # a stroke with a bar at either end
    "barrier": {"color": "#cc3311", "linewidth": 1.8, "marker": "_", "markersize": 7},
    "barrier_frankle": {"color": "#0077bb", "linewidth": 1.8, "marker": "_", "markersize": 7},
}
BESIDE = 1.05  # alpha at which the second barrier is drawn, so that it never hides the first


def table(
    lines: pd.DataFrame, pair: pairs.Pair = None, align: str = "none", bn: str = "reset"
) -> pd.DataFrame:
    """What the figure shows: the curves of one pair, their chords and their barriers.

    Args:
        lines: as `interpolate.py` writes it.
        pair: k1 and k2 in epochs; None is the line between two files.
        align: none, weights or activations.
        bn: what became of the batch-norm statistics: reset, average, keep or repair.

    Returns:
        See `curves.table`.

    Raises:
        ValueError: there is nothing to draw, with what there is; or see `curves.table`.
    """
    rows.check_columns(lines, curves.LINES)
    return curves.table(pairs.treated(pairs.where(lines, pair), align, bn))


def draw(drawn: pd.DataFrame) -> Figure:
    """Loss beside accuracy, a row a split; children thin, their mean bold.

    The barriers are marked on the bold curve, and are those of the bold curve: the mean of the
    children's own is written beside them. `barrier_frankle` is marked at the right of the panel.

    Args:
        drawn: by `table`.
    """
    splits = pairs.splits(drawn)
    with style.look():
        figure = Figure(figsize=(7.6, 2.7 * len(splits) + 1.1), layout="constrained")
        panels = figure.subplots(len(splits), 2, sharex=True, squeeze=False)
        for split, row in zip(splits, panels, strict=True):
            for metric, axes in zip(("loss", "accuracy"), row, strict=True):
                panel = drawn[(drawn["split"] == split) & (drawn["metric"] == metric)]
                draw_panel(axes, panel)
                axes.set_ylabel(f"{split} {metric} ({style.UNITS[metric]})")
        for axes in panels[-1]:
            axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
            pairs.alpha_axis(axes, drawn)
        names = drawn["curve"].drop_duplicates().tolist()
        handles = [Line2D([], [], **look_of(name), label=name) for name in names]
        handles.append(Line2D([], [], **CHORD, label="chord"))
        handles += [Line2D([], [], **MARKS[name], label=pairs.DEFINITIONS[name]) for name in MARKS]
        figure.legend(
            handles=handles,
            title=heading(drawn),
            loc="outside upper left",
            alignment="left",
            ncols=2,
        )
    return figure


def look_of(curve: str) -> dict[str, Any]:
    """How a curve looks."""
    if curve == curves.EACH_CHILD:
        return {**style.EACH_CHILD, "marker": "None"}
    return {**style.MEAN_CHILD, "linewidth": 1.6, "markersize": 3}


def draw_panel(axes: Axes, panel: pd.DataFrame) -> None:
    """The curves of one split and one metric."""
    each = panel[panel["curve"] == curves.EACH_CHILD]
    for _, child in each.groupby("seeds", sort=False):
        axes.plot(child["alpha"], child["value"], **look_of(curves.EACH_CHILD))
    bold = curves.main(panel)
    axes.plot(bold["alpha"], bold["value"], **look_of(bold["curve"].iloc[0]))
    axes.plot(bold["alpha"], bold["chord"], **CHORD)
    marks = draw_marks(axes, bold)
    for name, mark in marks.items():
        mark.set_label(label(name, bold, each))
    axes.legend(
        handles=list(marks.values()),
        loc="lower left",
        bbox_to_anchor=(-0.02, 1),
        fontsize=8,
        handlelength=1.2,
    )


def draw_marks(axes: Axes, bold: pd.DataFrame) -> dict[str, Line2D]:
    """Both barriers of one curve: from the chord, and from the mean of the ends."""
    worst = bold.iloc[int(bold["excess"].fillna(0).argmax())]
    (barrier,) = axes.plot(
        2 * [worst["alpha"]], [worst["chord"], worst["value"]], **MARKS["barrier"], zorder=3
    )
    accuracy = bold["metric"].iloc[0] == "accuracy"
    worse = -bold["value"] if accuracy else bold["value"]
    top = bold.iloc[int(worse.fillna(-math.inf).argmax())]
    base = (bold["value"].iloc[0] + bold["value"].iloc[-1]) / 2
    guide = {"color": MARKS["barrier_frankle"]["color"], "linestyle": ":", "linewidth": 0.9}
    axes.plot([0.5, BESIDE], [base, base], **guide)  # it crosses the chord half way
    axes.plot([top["alpha"], BESIDE], 2 * [top["value"]], **guide)
    (frankle,) = axes.plot(2 * [BESIDE], [base, top["value"]], **MARKS["barrier_frankle"], zorder=3)
    return {"barrier": barrier, "barrier_frankle": frankle}


def label(name: str, bold: pd.DataFrame, each: pd.DataFrame) -> str:
    """A barrier of the bold curve, and the mean of the children's own, which is another number."""
    of = " of error" if bold["metric"].iloc[0] == "accuracy" else ""
    text = f"{name}{of} {bold[name].iloc[0]:.3g}"
    if each.empty:
        return text
    own = each.groupby("seeds")[name].first()[str(bold["seeds"].iloc[0]).split()]
    by_main = own.groupby([curves.main_seed(seeds) for seeds in own.index]).mean()
    return f"{text} (children {by_main.mean():.3g})"


def heading(drawn: pd.DataFrame) -> str:
    """What the figure shows, in words."""
    if (drawn["curve"] == curves.ONLY_CHILD).any():
        return f"{pairs.title_of(drawn)}, child seed {curves.main(drawn)['seeds'].iloc[0]}"
    if (drawn["curve"] == curves.BETWEEN_FILES).all():
        return pairs.title_of(drawn)
    barriers = "barriers: of the mean curve (in brackets the mean of the children's own)"
    return f"{pairs.title_of(drawn)}, {curves.whose(drawn)}\n{barriers}"
