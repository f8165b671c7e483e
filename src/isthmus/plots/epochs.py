"""Figures over epochs: EMA studies, and distances between weights."""

from collections.abc import Iterator
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from isthmus.plots import frames, runs, style
from isthmus.plots.files import Drawing
from isthmus.plots.panels import (
    add_legend,
    draw_band,
    label_rows,
    make_grid,
    make_panels,
    wrap_title,
)

KEYS = ["setting", "model", "measure", "epoch"]
COLUMNS = [*KEYS, "value", "std", "lowest", "highest", "num_seeds", "seeds"]
LABEL = "epoch (passes over the training set)"


def curves_over_seeds(points: pd.DataFrame) -> pd.DataFrame:
    """Means, ranges and spreads of curves over trainings that differ only in their seed.

    Args:
        points: with `KEYS`, `seed` and `value`.

    Returns:
        `COLUMNS`, one row per point.
    """
    return runs.mean_over_seeds(points, KEYS)[COLUMNS]


def draw_epochs(drawn: pd.DataFrame) -> Figure:
    """Draw means over seeds as curves, their ranges as bands, over epochs.

    Args:
        drawn: `COLUMNS`, one row per point.
    """
    settings, measures = (list(dict.fromkeys(drawn[key])) for key in ("setting", "measure"))
    looks = style.looks(drawn["model"])
    if len(measures) == 1:
        figure, panels = make_grid(len(settings), labels=(LABEL, ""))
        label_rows(panels, measures[0])
    else:
        size = (max(2.9 * len(settings), 5.4), 2.3 * len(measures) + 1.1)
        shape = (len(measures), len(settings))
        figure, rows = make_panels(*shape, size, sharey="row", labels=(LABEL, ""))
        panels = list(rows.ravel())
        for measure, row in zip(measures, rows, strict=True):
            row[0].set_ylabel(measure)
    for place, axes in enumerate(panels):
        setting, measure = settings[place % len(settings)], measures[place // len(settings)]
        here = (drawn["setting"] == setting) & (drawn["measure"] == measure)
        draw_curves(axes, drawn[here], looks)
        if place < len(settings):
            axes.set_title(wrap_title(setting))
    add_legend(figure, panels, title=heading(drawn))
    return figure


def draw_curves(axes: Axes, panel: pd.DataFrame, looks: dict[str, dict[str, Any]]) -> None:
    """Draw the curves of one setting and one measure."""
    for model in style.order_models(panel["model"]):
        points = panel[panel["model"] == model].sort_values("epoch")
        draw_band(axes, "epoch", points, model, **looks[model])


def heading(drawn: pd.DataFrame) -> str:
    """Title of the legend: the seeds that curves and bands are over."""
    counts = drawn["num_seeds"]
    if counts.max() == 1:
        return "one seed"
    return f"mean and range of {style.span(counts.min(), counts.max())} seeds"


MEASURE = "validation accuracy (fraction)"
FIRST = 0.25  # part of the epochs whose values may be below the y axis: they set no limit


def ema_study_table(metrics: pd.DataFrame) -> pd.DataFrame:
    """Table of validation accuracies: mean, range and spread over seeds after every epoch.

    Args:
        metrics: of all trainings, see `runs.TrainingRuns.metrics`.

    Returns:
        The columns `epochs.COLUMNS`.

    Raises:
        ValueError: there is no validation accuracy.
    """
    rows = frames.rows_where(frames.rows_where(metrics, "metric", "accuracy"), "split", "val")
    rows = rows.assign(measure=MEASURE)
    return curves_over_seeds(rows)


def make_ema_study(study: runs.TrainingRuns) -> Iterator[Drawing]:
    """Validation accuracies of each model over epochs."""
    yield Drawing("ema_study", ema_study_table(study.metrics), draw_ema_study)


def draw_ema_study(drawn: pd.DataFrame) -> Figure:
    """Draw one panel per setting; the first quarter of training may be below the panels."""
    figure = draw_epochs(drawn)
    later = drawn.loc[drawn["epoch"] >= FIRST * drawn["epoch"].max(), ["lowest", "highest"]]
    low, high = later["lowest"].min(), max(drawn["highest"].max(), later["lowest"].min() + 1e-3)
    figure.axes[0].set_ylim(low - 0.05 * (high - low), high + 0.05 * (high - low))
    return figure


WEIGHT_DIFFERENCE_MEASURE = "plain minus averaged weights\n(L2 norm)"


def weight_difference_table(metrics: pd.DataFrame) -> pd.DataFrame:
    """Table of weight differences: mean, range and spread over seeds after every epoch.

    Args:
        metrics: of all trainings, see `runs.TrainingRuns.metrics`; distances are of all parameters,
            without batch-norm statistics.

    Returns:
        The columns `epochs.COLUMNS`.

    Raises:
        ValueError: there is no averaged model.
    """
    rows = frames.rows_where(metrics, "metric", "weight_distance").assign(
        measure=WEIGHT_DIFFERENCE_MEASURE
    )
    return curves_over_seeds(rows)


def make_weight_difference(study: runs.TrainingRuns) -> Iterator[Drawing]:
    """Distances of averaged from trained weights over epochs."""
    yield Drawing("weight_difference", weight_difference_table(study.metrics), draw_epochs)
