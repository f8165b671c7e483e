"""How much of the differences between trials each option accounts for."""

import pandas as pd
from matplotlib.figure import Figure

from isthmus.plots import rows, style

COLUMNS = ["option", "importance"]


def table(importance: pd.DataFrame) -> pd.DataFrame:
    """What the figure shows: options and their importance, the largest first.

    Args:
        importance: as `tune.py` writes it.

    Raises:
        ValueError: there is nothing to draw, or the table is another one.
    """
    rows.check_columns(importance, COLUMNS)
    if importance.empty:
        raise ValueError("nothing to draw: the table of importance has no options")
    return importance[COLUMNS].sort_values("importance", ascending=False).reset_index(drop=True)


def draw(drawn: pd.DataFrame) -> Figure:
    """A bar an option.

    Args:
        drawn: by `table`.
    """
    with style.look():
        figure = Figure(figsize=(5.4, 0.4 * len(drawn) + 1.0), layout="constrained")
        axes = figure.subplots()
        bars = axes.barh(drawn["option"], drawn["importance"], color="#0072b2", height=0.6)
        axes.bar_label(bars, fmt="%.2f", padding=3, fontsize=8)
        axes.invert_yaxis()
        axes.set_xlim(0, min(1.12, 1.15 * drawn["importance"].max()))
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("importance (fraction of the decrease in impurity)")
    return figure
