"""Validation accuracy of a network and its averages over the epochs of training."""

import pandas as pd
from matplotlib.figure import Figure

from isthmus.plots import epochs, rows

MEASURE = "validation accuracy (fraction)"
FIRST = 0.25  # part of the epochs whose values may lie below the y axis: they set no limit


def table(metrics: pd.DataFrame) -> pd.DataFrame:
    """What the figure shows: mean, range and spread over seeds after every epoch.

    Args:
        metrics: of all trainings, see `trained.Study.metrics`.

    Returns:
        See `epochs.COLUMNS`.

    Raises:
        ValueError: there is no validation accuracy; with the splits that there are.
    """
    found = rows.where(rows.where(metrics, "metric", "accuracy"), "split", "val")
    found = found.assign(measure=MEASURE)
    return epochs.of_seeds(found)


def draw(drawn: pd.DataFrame) -> Figure:
    """A panel a setting; the first quarter of training may leave the panels below.

    Args:
        drawn: by `table`.
    """
    figure = epochs.draw(drawn)
    later = drawn.loc[drawn["epoch"] >= FIRST * drawn["epoch"].max(), ["lowest", "highest"]]
    low, high = later["lowest"].min(), max(drawn["highest"].max(), later["lowest"].min() + 1e-3)
    figure.axes[0].set_ylim(low - 0.05 * (high - low), high + 0.05 * (high - low))
    return figure
