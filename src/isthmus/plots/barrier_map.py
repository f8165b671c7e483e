"""Mean barriers of all pairs as maps: k1 by k2, both definitions side by side."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import AsinhNorm
from matplotlib.figure import Figure

from isthmus.plots import measures, pairs, rows, style

COLUMNS = [*measures.KEYS, "num_main_branches", "num_children", "measure", "mean"]
LINEAR_UP_TO = 0.01  # barriers of less than a hundredth are told apart like larger ones by ratios
NO_PAIR = "0.75"
CELL, LARGEST = 0.55, 6.0  # inches of a cell, and of a map
NUMBER = 0.42  # inches that a number needs
LABELS = 30  # of cells along an axis


def table(
    intervals: pd.DataFrame,
    split: str = "test",
    align: str = "none",
    bn: str = "reset",
    grid: pairs.Grid | None = None,
) -> pd.DataFrame:
    """What the figure shows: the mean of both barriers, of loss and of error.

    Args:
        intervals: as `interpolate.py` writes it.
        split: train, val or test.
        align: none, weights or activations.
        bn: what became of the batch-norm statistics: reset, average, keep or repair.
        grid: one of `pairs.grids`; None for the first.

    Returns:
        A row a cell of a map.

    Raises:
        ValueError: there is nothing to draw, with what there is; or the table is another one.
    """
    rows.check_columns(intervals, measures.INTERVALS)
    if "num_main_branches" not in intervals:  # of an older version
        intervals = intervals.assign(num_main_branches=1)
    found = measures.select(intervals, split, align, bn, grid)
    found = found[found["measure"].isin(pairs.DEFINITIONS)]
    order, ascending = ["metric", "measure", "k1", "k2"], [False, True, True, True]
    return found.sort_values(order, ascending=ascending, ignore_index=True)[COLUMNS]


def draw(drawn: pd.DataFrame) -> Figure:
    """A row of maps a metric and a column a definition; the maps of one metric share colours.

    Cells without a pair are grey. Numbers are written where they fit.

    Args:
        drawn: by `table`.
    """
    k1, k2 = (sorted(set(drawn[k])) for k in ("k1", "k2"))
    height, width = (min(max(CELL * len(k), 1.6), LARGEST) for k in (k1, k2))
    fits = min(width / len(k2), 2 * height / len(k1)) >= NUMBER
    with style.look():
        figure = Figure(figsize=(2 * width + 2.2, 2 * height + 1.9), layout="constrained")
        panels = figure.subplots(2, 2, sharex=True, sharey=True)
        for metric, row in zip(measures.METRICS, panels, strict=True):
            of_metric = drawn[drawn["metric"] == metric]
            largest = float(of_metric["mean"].max()) or LINEAR_UP_TO
            norm = AsinhNorm(linear_width=LINEAR_UP_TO, vmin=0, vmax=largest)
            for name, axes in zip(pairs.DEFINITIONS, row, strict=True):
                cells = of_metric[of_metric["measure"] == name]
                found = cells.pivot(index="k1", columns="k2", values="mean")
                means = found.reindex(index=k1, columns=k2).to_numpy()
                mesh = draw_cells(axes, means, norm)
                axes.set_title(f"{name} of the {metric}")
                if fits:
                    write_numbers(axes, means, norm(means))
            scale = figure.colorbar(mesh, ax=list(row), format="{x:g}", pad=0.02)
            scale.set_label(f"mean barrier ({pairs.UNITS[metric]})")
            scale.set_ticks(ticks(largest))
            scale.minorticks_off()
        label_cells(panels, k1, k2)
        figure.suptitle(heading(drawn), fontsize=9, x=0.01, ha="left")
    return figure


def draw_cells(axes: Axes, means: np.ndarray, norm: AsinhNorm) -> QuadMesh:
    """Coloured cells, the one of row i and column j centred on (j, i)."""
    row_edges, column_edges = (np.arange(count + 1) - 0.5 for count in means.shape)
    axes.grid(False)
    axes.set_facecolor(NO_PAIR)
    return axes.pcolormesh(column_edges, row_edges, means, cmap="cividis", norm=norm)


def write_numbers(axes: Axes, means: np.ndarray, shades: np.ndarray) -> None:
    """The mean in each cell, light on dark and dark on light."""
    for i, j in np.argwhere(np.isfinite(means)).tolist():
        colour = "white" if shades[i, j] < 0.4 else "black"
        axes.text(j, i, number(means[i, j]), color=colour, fontsize=7, ha="center", va="center")


def number(mean: float) -> str:
    """A barrier in five characters or less, as a rule."""
    return f"{mean:.3f}" if mean < 10 else f"{mean:.3g}"


def ticks(largest: float) -> list[float]:
    """Few numbers for the scale of colours, the largest among them."""
    steps = [0.01, 0.03, *(digit * 10.0**power for power in range(-1, 6) for digit in (1, 3))]
    return [0.0, *(step for step in steps if step < 0.8 * largest), float(f"{largest:.2g}")]


def label_cells(panels: np.ndarray, k1: list[float], k2: list[float]) -> None:
    """Name both axes, and as many of their cells as there is room for."""
    axes = panels[0, 0]  # the axes are one
    for numbers, label in ((k2, axes.set_xticks), (k1, axes.set_yticks)):
        places = style.spread(len(numbers), LABELS)
        label(places, [f"{numbers[place]:.3g}" for place in places])
    for axes in panels[1]:
        axes.set_xlabel(pairs.AXES["k2"])
    for axes in panels[:, 0]:
        axes.set_ylabel(pairs.AXES["k1"])


def heading(drawn: pd.DataFrame) -> str:
    """What the maps show, in words."""
    counts, mains = drawn["num_children"], drawn["num_main_branches"]
    children = f"mean over {style.span(counts.min(), counts.max())} child seeds"
    if counts.max() == 1:
        children = "one child seed"
    if mains.max() > 1:
        children = f"mean over {style.span(mains.min(), mains.max())} main branches"
    first = f"{drawn['split'].iloc[0]}, {pairs.about(drawn)}, {children}"
    return "\n".join([first, *pairs.DEFINITIONS.values()])
