"""Figures of `tune.py`: trials, their history, importance of options."""

import math
from collections.abc import Iterator
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from isthmus.plots import frames
from isthmus.plots.files import Drawing
from isthmus.plots.panels import add_legend, make_panel, make_panels

KNOWN = ["number", "state", "value", "seconds", "folder", "error"]  # columns that are no options
VALUE = "validation accuracy (fraction)"
RATIO = 20  # of the largest to the smallest number tried, beyond which an axis is logarithmic
SPREAD = 0.12  # of points around a choice, so that they do not hide each other
CHOICES = 8  # numbers up to which repeated values are treated as choices


def searched_options(trials: pd.DataFrame) -> list[str]:
    """Names of the searched options, in order."""
    return [name for name in trials.columns if name not in KNOWN]


def trial_slices_table(trials: pd.DataFrame) -> pd.DataFrame:
    """Table of the figure: number, value and options of complete trials.

    Args:
        trials: as `tune.py` writes it.

    Raises:
        ValueError: none is complete, or the table has other columns.
    """
    frames.check_columns(trials, ["number", "state", "value"])
    complete = frames.rows_where(trials, "state", "complete")
    return complete[["number", "value", *searched_options(trials)]].reset_index(drop=True)


def draw_trial_slices(drawn: pd.DataFrame) -> Figure:
    """Draw one panel per option, one point per trial, later ones darker."""
    names = searched_options(drawn)
    columns = 2 if len(names) == 4 else min(len(names), 3)
    rows = math.ceil(len(names) / columns)
    size = (2.9 * columns + 1.2, 2.6 * rows + 0.3)
    figure, several = make_panels(rows, columns, size, False, True, count=len(names))
    panels = several.ravel()[: len(names)].tolist()
    for axes, name in zip(panels, names, strict=True):
        points = axes.scatter(
            tick_places(axes, drawn[name]),
            drawn["value"],
            c=drawn["number"],
            cmap="viridis_r",
            s=18,
            edgecolors="white",
            linewidths=0.4,
        )
        axes.set_xlabel(name)
    figure.supylabel(VALUE, fontsize="medium")
    ticks = MaxNLocator(integer=True)
    figure.colorbar(points, ax=panels, label="trial", ticks=ticks)
    return figure


def tick_places(axes: Axes, column: pd.Series) -> np.ndarray:
    """Set the axis of an option, and return the positions of its values there."""
    if is_by_ratio(column):
        axes.set_xscale("log")
    if is_number(column):
        return column.to_numpy(float)
    order = choice_order(column)
    axes.set_xticks(range(len(order)), list(order))
    axes.set_xlim(-0.5, len(order) - 0.5)
    apart = SPREAD * np.linspace(-1, 1, len(column)) if len(column) > 1 else np.zeros(1)
    return value_labels(column).map(order).to_numpy(float) + apart


def choice_order(column: pd.Series) -> dict[str, int]:
    """The values of an option that is not a number, with the position of each in order."""
    return {word: place for place, word in enumerate(value_labels(column.sort_values()).unique())}


def value_labels(column: pd.Series) -> pd.Series:
    """Values as readable text."""
    return column.map(lambda value: f"{value:g}" if isinstance(value, float) else str(value))


def is_number(column: pd.Series) -> bool:
    """Whether an option is numeric, and not one of a few repeated numbers."""
    if not pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
        return False
    return column.nunique() > CHOICES or column.nunique() == len(column)


def is_by_ratio(column: pd.Series) -> bool:
    """Whether the axis of an option is logarithmic."""
    return is_number(column) and bool(column.min() > 0 and column.max() > RATIO * column.min())


EACH: dict[str, Any] = {"color": "0.6", "s": 14}
BEST: dict[str, Any] = {"color": "#0072b2", "linewidth": 1.8}


def trial_history_table(trials: pd.DataFrame) -> pd.DataFrame:
    """Table of the figure: number and value of each trial, and the best value so far.

    Args:
        trials: as `tune.py` writes it; incomplete ones have no value.

    Raises:
        ValueError: none is complete, or the table has other columns.
    """
    frames.check_columns(trials, ["number", "state", "value"])
    frames.rows_where(trials, "state", "complete")
    drawn = trials.sort_values("number")[["number", "state", "value"]].reset_index(drop=True)
    return drawn.assign(best=drawn["value"].cummax().ffill())


def draw_trial_history(drawn: pd.DataFrame) -> Figure:
    """Draw a point per complete trial, a cross per failed one, and a line of the best value."""
    figure, axes = make_panel(5.4, 3.4)
    done, failed = (drawn[drawn["state"] == state] for state in ("complete", "failed"))
    axes.scatter(done["number"], done["value"], **EACH, label="trial")
    axes.step(drawn["number"], drawn["best"], where="post", **BEST, label="best so far")
    if len(failed):
        foot = [done["value"].min()] * len(failed)
        axes.scatter(failed["number"], foot, marker="x", color="#d55e00", label="failed")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("trial (number)")
    axes.set_ylabel(VALUE)
    add_legend(figure, axes.get_legend_handles_labels()[0], columns=3)
    return figure


COLUMNS = ["option", "importance"]


def trial_importance_table(importance: pd.DataFrame) -> pd.DataFrame:
    """Table of the figure: options and their importance, the largest first.

    Args:
        importance: as `tune.py` writes it.

    Raises:
        ValueError: there is nothing to draw, or the table has other columns.
    """
    frames.check_columns(importance, COLUMNS)
    if importance.empty:
        raise ValueError("nothing to draw: the table of importance has no options")
    return importance[COLUMNS].sort_values("importance", ascending=False).reset_index(drop=True)


def draw_trial_importance(drawn: pd.DataFrame) -> Figure:
    """Draw one bar per option."""
    figure, axes = make_panel(5.4, 0.4 * len(drawn) + 1.0)
    bars = axes.barh(drawn["option"], drawn["importance"], color="#0072b2", height=0.6)
    axes.bar_label(bars, fmt="%.2f", padding=3, fontsize="small")
    axes.invert_yaxis()
    axes.set_xlim(0, min(1.12, 1.15 * drawn["importance"].max()))
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("importance (fraction of the decrease in impurity)")
    return figure


LABEL: dict[str, Any] = {
    "fontsize": "small",
    "bbox": {"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 0.5},
}
TICKS = 5  # on the axis of an option that is a number


def trial_parallel_table(trials: pd.DataFrame) -> pd.DataFrame:
    """Table of the figure: see `trial_slices_table`, the worst trial first and so below others.

    Args:
        trials: as `tune.py` writes it.

    Raises:
        ValueError: none is complete, or the table has other columns.
    """
    return trial_slices_table(trials).sort_values("value", kind="stable").reset_index(drop=True)


def draw_trial_parallel(drawn: pd.DataFrame) -> Figure:
    """Draw one vertical axis per option, one line per trial."""
    names = searched_options(drawn)
    figure, axes = make_panel(1.6 * len(names) + 2.4, 3.6)
    heights = np.stack(
        [draw_option_axis(axes, i, drawn[name]) for i, name in enumerate(names)], axis=1
    )
    values, colours = drawn["value"], matplotlib.colormaps["viridis"]
    scale = Normalize(values.min(), values.max())
    for line, value in zip(heights, values, strict=True):
        axes.plot(range(len(names)), line, color=colours(scale(value)), linewidth=1.3)
    axes.set_xticks(range(len(names)), names)
    axes.set_xlim(-0.3, len(names) - 0.3)
    axes.set_ylim(-0.05, 1.05)
    axes.yaxis.set_visible(False)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    figure.colorbar(ScalarMappable(scale, colours), ax=axes, label=VALUE)
    return figure


def draw_option_axis(axes: Axes, place: int, column: pd.Series) -> np.ndarray:
    """Draw the axis of an option, and return the heights of its values there, in [0, 1]."""
    if is_number(column):
        heights, ticks = _numbers(column)
    else:
        choices = choice_order(column)
        ticks = {word: i / max(len(choices) - 1, 1) for word, i in choices.items()}
        heights = value_labels(column).map(ticks).to_numpy(float)
    axes.axvline(place, color="0.4", linewidth=0.9, zorder=0)
    for label, height in ticks.items():
        axes.annotate(
            label, (place, height), (4, 0), textcoords="offset points", va="center", **LABEL
        )
    return heights


def _numbers(column: pd.Series) -> tuple[np.ndarray, dict[str, float]]:
    """Heights of numbers, and of tick labels."""
    by_ratio = is_by_ratio(column)
    numbers = np.log(column.to_numpy(float)) if by_ratio else column.to_numpy(float)
    low, width = numbers.min(), np.ptp(numbers) or 1.0
    marks = np.linspace(low, numbers.max(), TICKS if np.ptp(numbers) else 1)
    values = np.exp(marks) if by_ratio else marks
    labels = {f"{v:.3g}": (m - low) / width for v, m in zip(values, marks, strict=True)}
    return (numbers - low) / width, labels


def make_history(trials: pd.DataFrame) -> Iterator[Drawing]:
    """Values of trials in their order, if one is complete."""
    if has_complete(trials):
        yield Drawing("history", trial_history_table(trials), draw_trial_history)


def make_importance(importance: pd.DataFrame) -> Iterator[Drawing]:
    """Importance of options, if it is known."""
    if len(importance):
        yield Drawing("importance", trial_importance_table(importance), draw_trial_importance)


def make_slices(trials: pd.DataFrame) -> Iterator[Drawing]:
    """Values of trials against each option, if one is complete."""
    if has_complete(trials) and searched_options(trials):
        yield Drawing("slices", trial_slices_table(trials), draw_trial_slices)


def make_parallel(trials: pd.DataFrame) -> Iterator[Drawing]:
    """Options of each trial as a line, if one is complete."""
    if has_complete(trials) and searched_options(trials):
        yield Drawing("parallel", trial_parallel_table(trials), draw_trial_parallel)


def has_complete(trials: pd.DataFrame) -> bool:
    """Whether a trial is complete."""
    return bool((trials["state"] == "complete").any())
