"""Panels of figures and their legends; curves with bands or bars, and maps of cells."""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from isthmus.plots.layout import PanelFigure, legend_columns, wrap_legend

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
    least: tuple[float, float] | None = None,
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
        least: width and height of a panel in inches; by default more than half of its share.

    Returns:
        The figure, and its axes, (rows, columns).
    """
    figure = PanelFigure(figsize=size, layout=layout)
    figure.least = least or (0.6 * size[0] / columns, 0.5 * size[1] / rows)
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


def make_panel(
    width: float, height: float, least: tuple[float, float] | None = None
) -> tuple[Figure, Axes]:
    """A figure of a single panel, of a size in inches; `least` as of `make_panels`."""
    figure, panels = make_panels(1, 1, (width, height), least=least)
    return figure, panels[0, 0]


def make_grid(
    count: int,
    columns: int | None = None,
    labels: tuple[str, str] = ("", ""),
    sharey: Shared = True,
) -> tuple[Figure, list[Axes]]:
    """A figure of equal panels in wrapped rows, with common axes.

    Args:
        count: of panels; a single one is larger.
        columns: by default chosen for a good shape of the figure.
        labels: of the x axes and of the y axes of all panels; empty for none.
        sharey: which panels have a common y axis.

    Returns:
        The figure, and its panels in reading order.
    """
    if columns is None:
        columns = count if count < 4 else min(math.ceil(math.sqrt(count)), 4)
    rows = math.ceil(count / columns)
    width, height = (5.4, 3.2) if count == 1 else (2.9 * columns, 2.1 * rows)
    size = (width, height + 1.1)  # 1.1 for the legend
    figure, panels = make_panels(rows, columns, size, sharey=sharey, count=count, labels=labels)
    return figure, list(panels.ravel()[:count])


def split_pages(table: pd.DataFrame, column: str, most: int) -> Iterator[tuple[str, pd.DataFrame]]:
    """The rows of a table for several figures, each with few values of a column.

    Args:
        table: with the column.
        column: whose values are panels, or rows of cells.
        most: values in one figure.

    Yields:
        A suffix of the figure's name, empty for the first, and its rows.
    """
    values = list(dict.fromkeys(table[column]))
    for number, start in enumerate(range(0, len(values), most), start=1):
        rows = table[table[column].isin(values[start : start + most])]
        yield ("" if number == 1 else f"_{number}"), rows.reset_index(drop=True)


def shorten_settings(settings: Iterable[str]) -> tuple[dict[str, str], str]:
    """Settings of one figure without the parts that all of them have, and these parts.

    Args:
        settings: texts of parts with ", " between them, see `runs.setting_label`.
    """
    parts = {setting: setting.split(", ") for setting in settings}
    first = next(iter(parts.values()))
    common = [part for part in first if all(part in each for each in parts.values())]
    if len(parts) == 1 or not all(common):
        return {setting: setting for setting in parts}, ""
    short = {name: ", ".join(p for p in each if p not in common) for name, each in parts.items()}
    return short, ", ".join(common)


def named_artists(panels: Iterable[Axes]) -> list[Artist]:
    """The curves of panels that have a name, each name once."""
    lines = {line.get_label(): line for axes in panels for line in axes.get_lines()}
    return [line for name, line in lines.items() if not str(name).startswith("_")]


def add_legend(
    figure: Figure,
    entries: Iterable[Axes] | Sequence[Artist],
    title: str | None = None,
    columns: int | None = None,
    order: Iterable[str] = (),
) -> None:
    """Add one legend above all panels.

    Args:
        figure: of the panels.
        entries: panels, whose curves are named each once; or the artists themselves.
        title: of the legend.
        columns: of the legend, at most; as many as the width of the figure has room for.
        order: names of curves in their order; others come first.
    """
    entries = list(entries)
    panels = [entry for entry in entries if isinstance(entry, Axes)]
    handles = named_artists(panels) if panels else entries
    places = {name: place for place, name in enumerate(order)}
    handles = sorted(handles, key=lambda handle: places.get(str(handle.get_label()), -1))
    legend = figure.legend(
        handles=handles,
        loc="outside upper left",
        ncols=legend_columns(figure, [str(handle.get_label()) for handle in handles], columns),
        title=title,
        alignment="left",
    )
    wrap_legend(legend, figure)


def add_heading(figure: Figure, heading: str) -> None:
    """Add small text above all panels of a figure that has no legend."""
    figure.suptitle(heading, fontsize="medium", x=0.01, ha="left")


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
