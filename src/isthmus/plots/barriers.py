"""Barriers against the number of shared epochs, by both definitions."""

import pandas as pd
from matplotlib.figure import Figure

from isthmus.plots import measures, pairs, style


def table(
    intervals: pd.DataFrame,
    barriers: pd.DataFrame,
    split: str = "test",
    align: str = "none",
    bn: str = "reset",
    grid: pairs.Grid | None = None,
) -> pd.DataFrame:
    """What the figure shows: both barriers of loss and error of every pair, see `measures.table`.

    Args:
        intervals: as `interpolate.py` writes it.
        barriers: likewise; each child's own.
        split: train, val or test.
        align: none, weights or activations.
        bn: what became of the batch-norm statistics: reset, average, keep or repair.
        grid: one of `pairs.grids`; None for the first.

    Raises:
        ValueError: there is nothing to draw, with what there is.
    """
    return measures.table(intervals, barriers, list(pairs.DEFINITIONS), split, align, bn, grid)


def draw(drawn: pd.DataFrame) -> Figure:
    """A row of panels a metric and a column a definition, a curve a k2, from dark to light.

    Args:
        drawn: by `table`.
    """
    numbers = sorted(set(drawn["k2"]))
    with style.look():
        figure = Figure(figsize=(7.2, 6.4), layout="constrained")
        panels = figure.subplots(2, 2, sharex=True, sharey="row")
        for metric, row in zip(measures.METRICS, panels, strict=True):
            for name, axes in zip(pairs.DEFINITIONS, row, strict=True):
                panel = drawn[(drawn["metric"] == metric) & (drawn["measure"] == name)]
                measures.draw_curves(axes, panel, "k1", "k2", numbers)
                axes.set_title(name)
            row[0].set_ylabel(f"barrier of the {metric} ({pairs.UNITS[metric]})")
            row[1].tick_params(labelleft=True)
        for axes in panels[1]:
            pairs.epoch_axis(axes, "k1", drawn["k1"])
        measures.legend(figure, panels[0, 0], drawn)
    return figure
