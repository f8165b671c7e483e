"""Barriers, and how far apart the networks are, against further epochs of independent training."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from isthmus.plots import measures, pairs, style

APART = {"distance": "L2 distance", "cosine": "cosine similarity"}


def table(
    intervals: pd.DataFrame,
    barriers: pd.DataFrame,
    split: str = "test",
    align: str = "none",
    bn: str = "reset",
    grid: pairs.Grid | None = None,
) -> pd.DataFrame:
    """What the figure shows: barriers, distance and cosine of every pair, see `measures.table`.

    Args:
        intervals: as `interpolate.py` writes it.
        barriers: likewise; each child's own.
        split: train, val or test; distances do not depend on it.
        align: none, weights or activations.
        bn: what became of the batch-norm statistics: reset, average, keep or repair.
        grid: one of `pairs.grids`; None for the first.

    Raises:
        ValueError: there is nothing to draw, with what there is.
    """
    wanted = [*pairs.DEFINITIONS, *APART]
    drawn = measures.table(intervals, barriers, wanted, split, align, bn, grid)
    once = drawn["metric"] == "loss"  # distances stand in the rows of either metric
    return drawn[once | ~drawn["measure"].isin(APART)].reset_index(drop=True)


def draw(drawn: pd.DataFrame) -> Figure:
    """Barriers of the loss above those of the error, distance above cosine; a curve a k1.

    Args:
        drawn: by `table`.
    """
    with style.look():
        figure = Figure(figsize=(9.6, 6.2), layout="constrained")
        panels = figure.subplots(2, 3, sharex=True)
        for metric, row in zip(measures.METRICS, panels, strict=True):
            row[1].sharey(row[0])
            for name, axes in zip(pairs.DEFINITIONS, row[:2], strict=True):
                draw_panel(axes, drawn[drawn["metric"] == metric], name)
                axes.set_title(name)
            row[0].set_ylabel(f"barrier of the {metric} ({pairs.UNITS[metric]})")
        for name, axes in zip(APART, panels[:, 2], strict=True):
            draw_panel(axes, drawn, name)
            axes.set_title(f"{name} of the two networks")
            axes.set_ylabel(APART[name])
        for axes in panels[1]:
            pairs.epoch_axis(axes, "k2", drawn["k2"])
        measures.legend(figure, panels[0, 0], drawn)
    return figure


def draw_panel(axes: Axes, drawn: pd.DataFrame, name: str) -> None:
    """The curves of one measure."""
    panel = drawn[drawn["measure"] == name]
    measures.draw_curves(axes, panel, "k2", "k1", sorted(set(drawn["k1"])))
