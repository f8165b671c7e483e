"""All options of every trial side by side, joined by a line whose colour is its value."""

from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from isthmus.plots import style, trial_slices

LABEL: dict[str, Any] = {
    "fontsize": 7,
    "bbox": {"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 0.5},
}
TICKS = 5  # on the axis of an option that is a number


def table(trials: pd.DataFrame) -> pd.DataFrame:
    """What the figure shows: see `trial_slices.table`, the worst trial first and so below others.

    Args:
        trials: as `tune.py` writes it.

    Raises:
        ValueError: none is complete, or the table is another one.
    """
    return trial_slices.table(trials).sort_values("value", kind="stable").reset_index(drop=True)


def draw(drawn: pd.DataFrame) -> Figure:
    """A vertical axis an option, a line a trial.

    Args:
        drawn: by `table`.
    """
    names = trial_slices.options(drawn)
    with style.look():
        figure = Figure(figsize=(1.6 * len(names) + 2.4, 3.6), layout="constrained")
        axes = figure.subplots()
        heights = np.stack([axis_of(axes, i, drawn[name]) for i, name in enumerate(names)], axis=1)
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
        figure.colorbar(ScalarMappable(scale, colours), ax=axes, label=trial_slices.VALUE)
    return figure


def axis_of(axes: Axes, place: int, column: pd.Series) -> np.ndarray:
    """Draw the axis of an option; the heights of its values there, in [0, 1]."""
    if trial_slices.is_number(column):
        heights, ticks = _numbers(column)
    else:
        choices = trial_slices.choices(column)
        ticks = {word: i / max(len(choices) - 1, 1) for word, i in choices.items()}
        heights = trial_slices.words(column).map(ticks).to_numpy(float)
    axes.axvline(place, color="0.4", linewidth=0.9, zorder=0)
    for label, height in ticks.items():
        axes.annotate(
            label, (place, height), (4, 0), textcoords="offset points", va="center", **LABEL
        )
    return heights


def _numbers(column: pd.Series) -> tuple[np.ndarray, dict[str, float]]:
    """Heights of numbers, and labels with theirs."""
    by_ratio = trial_slices.is_by_ratio(column)
    numbers = np.log(column.to_numpy(float)) if by_ratio else column.to_numpy(float)
    low, width = numbers.min(), np.ptp(numbers) or 1.0
    marks = np.linspace(low, numbers.max(), TICKS if np.ptp(numbers) else 1)
    shown = np.exp(marks) if by_ratio else marks
    labels = {f"{s:.3g}": (m - low) / width for s, m in zip(shown, marks, strict=True)}
    return (numbers - low) / width, labels
