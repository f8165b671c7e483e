"""Panels of figures and their legends; curves with bands or bars, and maps of cells."""

import math
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

Shared = bool | Literal["none", "all", "row", "col"]


def make_panels(
    rows: int,
    columns: int,
    size: tuple[float, float],
    sharex: Shared = True,
    sharey: Shared = False,
    count: int | None = None,
    labels: tuple[str, str] = ("", ""),
    layout: Literal["constrained", "compressed"] = "constrained",
) -> tuple[Figure, np.ndarray]:
    """A figure of panels with common axes; positions without a panel are empty.

    Args:
        rows: of panels.
        columns: of panels.
        size: width and height of the figure in inches, before the scale of the theme.
        sharex: which panels have a common x axis.
        sharey: which panels have a common y axis.
        count: of panels, in reading order; None for all positions.
        labels: of the x axes and of the y axes of all panels; empty for none.
        layout: of matplotlib.

    Returns:
        The figure, and its axes, (rows, columns).
    """
    figure = Figure(figsize=size, layout=layout)
    panels = figure.subplots(rows, columns, sharex=sharex, sharey=sharey, squeeze=False)
    if count is not None:
        for axes in panels.ravel()[count:]:
            axes.remove()
        if sharex is True:  # a panel without one below it has the labels
            for axes in panels.ravel()[max(count - columns, 0) : count]:
                axes.tick_params(labelbottom=True)
    for label, write in zip(labels, (figure.supxlabel, figure.supylabel), strict=True):
        if label:
            write(label)
    return figure, panels


def make_panel(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure of a single panel, of a size in inches."""
    figure, panels = make_panels(1, 1, (width, height))
    return figure, panels[0, 0]


def make_grid(
    count: int, columns: int | None = None, labels: tuple[str, str] = ("", "")
) -> tuple[Figure, list[Axes]]:
    """A figure of equal panels in wrapped rows, with common axes.

    Args:
        count: of panels; a single one is larger.
        columns: by default chosen for a good shape of the figure.
        labels: of the x axes and of the y axes of all panels; empty for none.

    Returns:
        The figure, and its panels in reading order.
    """
    if columns is None:
        columns = count if count < 4 else min(math.ceil(math.sqrt(count)), 4)
    rows = math.ceil(count / columns)
    width, height = (5.4, 3.2) if count == 1 else (2.9 * columns, 2.1 * rows)
    size = (width, height + 1.1)  # 1.1 for the legend
    figure, panels = make_panels(rows, columns, size, sharey=True, count=count, labels=labels)
    return figure, list(panels.ravel()[:count])


def wrap_title(title: str) -> str:
    """Wrap the title of a panel to the panel's width."""
    return textwrap.fill(title, 34, break_long_words=False)


def label_rows(panels: Iterable[Axes], label: str) -> None:
    """Label the y axis of the first panel of each row."""
    for axes in panels:
        place = axes.get_subplotspec()
        if place is not None and place.is_first_col():
            axes.set_ylabel(label)


def named_artists(panels: Iterable[Axes]) -> list[Artist]:
    """The curves of panels that have a name, each name once."""
    lines = {line.get_label(): line for axes in panels for line in axes.get_lines()}
    return [line for name, line in lines.items() if not str(name).startswith("_")]


def add_legend(
    figure: Figure,
    entries: Iterable[Axes] | Sequence[Artist],
    title: str | None = None,
    columns: int | None = None,
) -> None:
    """Add one legend above all panels.

    Args:
        figure: of the panels.
        entries: panels, whose curves are named each once; or the artists themselves.
        title: of the legend.
        columns: of the legend; by default as many as the width of the figure has room for.
    """
    entries = list(entries)
    panels = [entry for entry in entries if isinstance(entry, Axes)]
    figure.legend(
        handles=named_artists(panels) if panels else entries,
        loc="outside upper left",
        ncols=columns or max(1, int(figure.get_figwidth() // 2)),
        title=title,
        alignment="left",
    )


def add_heading(figure: Figure, heading: str) -> None:
    """Add small text above all panels of a figure that has no legend."""
    figure.suptitle(heading, fontsize=9, x=0.01, ha="left")


def draw_band(axes: Axes, x: Any, points: pd.DataFrame, label: str, **look: Any) -> None:
    """Draw a curve of means, and the range of what they are over as a band of its colour.

    Args:
        axes: of the panel.
        x: (points,), or the name of a column.
        points: with `value`, `lowest` and `highest`; if all `num_seeds` are 1 there is no band.
        label: in the legend.
        look: of the curve, with its color.
    """
    x = points[x] if isinstance(x, str) else x
    axes.plot(x, points["value"], **look, label=label)
    if "num_seeds" not in points or (points["num_seeds"] > 1).any():
        ends = points["lowest"], points["highest"]
        axes.fill_between(x, *ends, color=look["color"], alpha=0.15, lw=0)


def draw_bars(
    axes: Axes, x: Any, points: pd.DataFrame, ends: tuple[str, str], colour: Any, **look: Any
) -> None:
    """Draw a vertical bar at each point, from one end of an interval to the other.

    Args:
        axes: of the panel.
        x: (points,), or the name of a column.
        points: with `value` and the columns `ends`.
        ends: names of the lower and the upper end.
        colour: of the bars.
        look: of the bars, as of `Axes.errorbar`.
    """
    x = points[x] if isinstance(x, str) else x
    low, high = ends
    spread = [points["value"] - points[low], points[high] - points["value"]]
    axes.errorbar(x, points["value"], yerr=spread, fmt="none", ecolor=colour, **look)


def draw_cells(axes: Axes, values: np.ndarray, cmap: str, norm: Normalize, empty: str) -> QuadMesh:
    """Draw a map of coloured cells, that of row i and column j centred on (j, i).

    Args:
        axes: of the panel.
        values: (rows, columns); nan for a cell without a value.
        cmap: name of the colours.
        norm: from values to colours.
        empty: colour of cells without a value.
    """
    row_edges, column_edges = (np.arange(count + 1) - 0.5 for count in values.shape)
    axes.grid(False)
    if np.isnan(values).any():
        axes.set_facecolor(empty)
    return axes.pcolormesh(column_edges, row_edges, values, cmap=cmap, norm=norm)
