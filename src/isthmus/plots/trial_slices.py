"""Value of every trial against each option that was tried."""

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from isthmus.plots import rows, style

KNOWN = ["number", "state", "value", "seconds", "folder", "error"]  # columns that are no options
VALUE = "validation accuracy (fraction)"
RATIO = 20  # of the largest to the smallest number tried, from which on an axis goes by ratios
SPREAD = 0.12  # of points beside a choice, so that they do not hide each other
CHOICES = 8  # numbers that are told apart by place alone


def options(trials: pd.DataFrame) -> list[str]:
    """Names of what was tried, in order."""
    return [name for name in trials.columns if name not in KNOWN]


def table(trials: pd.DataFrame) -> pd.DataFrame:
    """What the figure shows: number, value and options of the trials that are complete.

    Args:
        trials: as `tune.py` writes it.

    Raises:
        ValueError: none is complete, or the table is another one.
    """
    rows.check_columns(trials, ["number", "state", "value"])
    found = rows.where(trials, "state", "complete")
    return found[["number", "value", *options(trials)]].reset_index(drop=True)


def draw(drawn: pd.DataFrame) -> Figure:
    """A panel an option, a point a trial, later ones darker.

    Args:
        drawn: by `table`.
    """
    names = options(drawn)
    columns = 2 if len(names) == 4 else min(len(names), 3)
    shape = math.ceil(len(names) / columns), columns
    with style.look():
        figure = Figure(figsize=(2.9 * columns + 1.2, 2.6 * shape[0] + 0.3), layout="constrained")
        panels = figure.subplots(*shape, sharey=True, squeeze=False).ravel()
        for axes in panels[len(names) :]:
            axes.remove()
        for axes, name in zip(panels, names, strict=False):
            points = axes.scatter(
                places(axes, drawn[name]),
                drawn["value"],
                c=drawn["number"],
                cmap="viridis_r",
                s=18,
                edgecolors="white",
                linewidths=0.4,
            )
            axes.set_xlabel(name)
        figure.supylabel(VALUE, fontsize=9)
        ticks = MaxNLocator(integer=True)
        figure.colorbar(points, ax=panels[: len(names)].tolist(), label="trial", ticks=ticks)
    return figure


def places(axes: Axes, column: pd.Series) -> np.ndarray:
    """Where values lie on an axis that is set for them: by ratio, by number, or by choice."""
    if is_by_ratio(column):
        axes.set_xscale("log")
    if is_number(column):
        return column.to_numpy(float)
    found = choices(column)
    axes.set_xticks(range(len(found)), list(found))
    axes.set_xlim(-0.5, len(found) - 0.5)
    apart = SPREAD * np.linspace(-1, 1, len(column)) if len(column) > 1 else np.zeros(1)
    return words(column).map(found).to_numpy(float) + apart


def choices(column: pd.Series) -> dict[str, int]:
    """The values of an option that is not a number, each with its place in order."""
    return {word: place for place, word in enumerate(words(column.sort_values()).unique())}


def words(column: pd.Series) -> pd.Series:
    """Values as one reads them."""
    return column.map(lambda value: f"{value:g}" if isinstance(value, float) else str(value))


def is_number(column: pd.Series) -> bool:
    """Whether an option has numbers as values that are not a few, tried again and again."""
    if not pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
        return False
    return column.nunique() > CHOICES or column.nunique() == len(column)


def is_by_ratio(column: pd.Series) -> bool:
    """Whether an option's values are best compared by their ratios."""
    return is_number(column) and bool(column.min() > 0 and column.max() > RATIO * column.min())
