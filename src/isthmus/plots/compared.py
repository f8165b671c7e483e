"""Lines between the same two networks, aligned and not, and with other batch-norm statistics."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from isthmus.plots import curves, line, pairs, rows, style


def table(lines: pd.DataFrame, pair: pairs.Pair = None) -> pd.DataFrame:
    """What the figure shows: a curve for each alignment and treatment of batch norm of one pair.

    Args:
        lines: as `interpolate.py` writes it.
        pair: k1 and k2 in epochs; None is the line between two files.

    Returns:
        See `curves.table`; without the single children where there are several.

    Raises:
        ValueError: there is nothing to draw, with what there is; or see `curves.table`.
    """
    rows.check_columns(lines, curves.LINES)
    found = pairs.where(lines, pair)
    parts = [pairs.treated(found, *sort) for sort in pairs.treatments(found)]
    return curves.main(curves.table(pd.concat(parts))).reset_index(drop=True)


def draw(drawn: pd.DataFrame) -> Figure:
    """Loss beside accuracy, a row a split; the barriers of each curve in the legend of its panel.

    Args:
        drawn: by `table`.
    """
    splits, sorts = pairs.splits(drawn), pairs.treatments(drawn)
    with style.look():
        height = (2.5 + 0.17 * len(sorts)) * len(splits) + 1.0
        figure = Figure(figsize=(8.6, height), layout="constrained")
        panels = figure.subplots(len(splits), 2, sharex=True, squeeze=False)
        for split, row in zip(splits, panels, strict=True):
            for metric, axes in zip(("loss", "accuracy"), row, strict=True):
                panel = drawn[(drawn["split"] == split) & (drawn["metric"] == metric)]
                draw_panel(axes, panel)
                axes.set_ylabel(f"{split} {metric} ({style.UNITS[metric]})")
        for axes in panels[-1]:
            pairs.alpha_axis(axes, drawn)
        chord = Line2D([], [], **line.CHORD, label="chord of each line")
        figure.legend(
            handles=[chord], title=heading(drawn), loc="outside upper left", alignment="left"
        )
    return figure


def draw_panel(axes: Axes, panel: pd.DataFrame) -> None:
    """The curves of one split and one metric."""
    for place, (align, bn) in enumerate(pairs.treatments(panel)):
        curve = pairs.treated(panel, align, bn)
        first, colour = curve.iloc[0], style.COLOURS[place % len(style.COLOURS)]
        label = f"{align}, {bn}: barrier {first['barrier']:.3g}"
        label += f", barrier_frankle {first['barrier_frankle']:.3g}"
        look = {**pairs.dash(place), "markersize": 3.5, "markevery": every(len(curve))}
        axes.plot(curve["alpha"], curve["value"], color=colour, **look, label=label)
        axes.plot(curve["alpha"], curve["chord"], **{**line.CHORD, "color": colour, "alpha": 0.6})
    of = " (of the error)" if panel["metric"].iloc[0] == "accuracy" else ""
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(-0.02, 1),
        fontsize=7.5,
        title=f"align, batch norm: barriers{of}",
        title_fontsize=7.5,
        alignment="left",
        labelspacing=0.25,
    )


def heading(drawn: pd.DataFrame) -> str:
    """What the figure shows, in words, and how the barriers in it are defined."""
    (pair,) = pairs.found(drawn)
    words = [word for word in (pairs.title(pair), curves.whose(drawn)) if word]
    return "\n".join([", ".join(words) or "line", *pairs.DEFINITIONS.values()])


def every(count: int) -> int:
    """One in so many points has a marker."""
    return max(1, count // 12)
