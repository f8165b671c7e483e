"""How much worse than the chord all lines of a study are: a panel a pair."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from isthmus.plots import curves, pairs, rows, style

COLOURS = {"train": "#0072b2", "val": "#009e73", "test": "#d55e00"}
DASHES = {"train": "-", "val": ":", "test": (0, (4, 1.5))}


def table(
    lines: pd.DataFrame, metric: str = "loss", align: str = "none", bn: str = "reset"
) -> pd.DataFrame:
    """What the figure shows: the excess over the chord along every line.

    Args:
        lines: as `interpolate.py` writes it.
        metric: loss (nats) or error (fraction).
        align: none, weights or activations.
        bn: what became of the batch-norm statistics: reset, average, keep or repair.

    Returns:
        See `curves.table`.

    Raises:
        ValueError: there is nothing to draw, with what there is; or see `curves.table`.
    """
    if metric not in ("loss", "error"):
        raise ValueError(f"metric: must be loss or error, got {metric}")
    rows.check_columns(lines, curves.LINES)
    return curves.table(pairs.treated(lines, align, bn), (metric,))


def draw(drawn: pd.DataFrame) -> Figure:
    """A panel a pair, all on the same axes: children thin, their mean bold, a colour a split.

    The top of a curve is its `barrier`.

    Args:
        drawn: by `table`.
    """
    found = pairs.found(drawn)
    with style.look():
        figure, panels = style.grid(len(found), columns_of(drawn))
        for pair, axes in zip(found, panels, strict=True):
            draw_panel(axes, pairs.where(drawn, pair))
            axes.set_title(pairs.title(pair))
        metric = drawn["metric"].iloc[0]
        pairs.alpha_axis(axes, drawn)
        figure.supxlabel(axes.get_xlabel())
        axes.set_xlabel("")
        figure.supylabel(f"{metric} above the chord ({pairs.UNITS[metric]})")
        heading = f"{pairs.about(drawn)}\nlargest value: barrier (Entezari et al., 2022)"
        style.legend(figure, panels, title=heading)
    return figure


def columns_of(drawn: pd.DataFrame) -> int | None:
    """A column a k2, where every k1 has every k2 and they are few; else any number."""
    num_k1, num_k2 = (drawn[k].nunique() for k in ("k1", "k2"))
    whole = len(pairs.found(drawn)) == num_k1 * num_k2
    return num_k2 if whole and 1 < num_k1 and 1 < num_k2 <= 6 else None


def draw_panel(axes: Axes, panel: pd.DataFrame) -> None:
    """The curves of one pair."""
    for split in pairs.splits(panel):
        points = panel[panel["split"] == split]
        look: dict[str, Any] = {"color": COLOURS[split], "linestyle": DASHES[split]}
        for _, child in points[points["curve"] == curves.EACH_CHILD].groupby("seeds"):
            thin: dict[str, Any] = {
                "linewidth": 0.6,
                "alpha": 0.6,
                "label": f"{split}, {curves.EACH_CHILD}",
            }
            axes.plot(child["alpha"], child["excess"], **look, **thin)
        bold, words = curves.main(points), curves.whose(points)
        label = f"{split}, {words}" if words else split
        axes.plot(bold["alpha"], bold["excess"], **look, linewidth=1.5, label=label)
