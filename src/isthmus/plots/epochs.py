"""Figures over epochs: EMA studies, and distances between weights."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from isthmus.plots import frames, runs, style

KEYS = ["setting", "model", "measure", "epoch"]
COLUMNS = [*KEYS, "value", "std", "lowest", "highest", "num_seeds", "seeds"]
LABEL = "epoch (passes over the training set)"


def curves_over_seeds(points: pd.DataFrame) -> pd.DataFrame:
    """What is drawn of the curves of trainings: means over those that differ in their seed only.

    Args:
        points: with `KEYS`, `seed` and `value`.

    Returns:
        `COLUMNS`, a row a point.
    """
    return runs.mean_over_seeds(points, KEYS)[COLUMNS]


def draw_epochs(drawn: pd.DataFrame) -> Figure:
    """Means over seeds as curves, their ranges as bands; the y axis is named by the measure.

    Args:
        drawn: `COLUMNS`, a row a point.
    """
    settings, measures = (list(dict.fromkeys(drawn[key])) for key in ("setting", "measure"))
    looks = style.looks(drawn["model"])
    with style.look():
        if len(measures) == 1:
            figure, panels = style.grid(len(settings))
            style.label_rows(panels, measures[0])
        else:
            size = (max(2.9 * len(settings), 5.4), 2.3 * len(measures) + 1.1)
            figure = Figure(figsize=size, layout="constrained")
            rows = figure.subplots(
                len(measures), len(settings), sharex=True, sharey="row", squeeze=False
            )
            panels = list(rows.ravel())
            for measure, row in zip(measures, rows, strict=True):
                row[0].set_ylabel(measure)
        for place, axes in enumerate(panels):
            setting, measure = settings[place % len(settings)], measures[place // len(settings)]
            here = (drawn["setting"] == setting) & (drawn["measure"] == measure)
            draw_curves(axes, drawn[here], looks)
            if place < len(settings):
                axes.set_title(style.wrapped(setting))
        figure.supxlabel(LABEL)
        style.legend(figure, panels, title=heading(drawn))
    return figure


def draw_curves(axes: Axes, panel: pd.DataFrame, looks: dict[str, dict]) -> None:
    """The curves of one setting and one measure."""
    for model in style.order_models(panel["model"]):
        points = panel[panel["model"] == model].sort_values("epoch")
        axes.plot(points["epoch"], points["value"], **looks[model], label=model)
        if (points["num_seeds"] > 1).any():
            ends = points["lowest"], points["highest"]
            axes.fill_between(points["epoch"], *ends, color=looks[model]["color"], alpha=0.15, lw=0)


def heading(drawn: pd.DataFrame) -> str:
    """What curves and bands are, in words."""
    counts = drawn["num_seeds"]
    if counts.max() == 1:
        return "one seed"
    return f"mean and range of {style.span(counts.min(), counts.max())} seeds"


MEASURE = "validation accuracy (fraction)"
FIRST = 0.25  # part of the epochs whose values may lie below the y axis: they set no limit


def ema_study_table(metrics: pd.DataFrame) -> pd.DataFrame:
    """What the figure shows: mean, range and spread over seeds after every epoch.

    Args:
        metrics: of all trainings, see `runs.TrainingRuns.metrics`.

    Returns:
        See `epochs.COLUMNS`.

    Raises:
        ValueError: there is no validation accuracy; with the splits that there are.
    """
    found = frames.rows_where(frames.rows_where(metrics, "metric", "accuracy"), "split", "val")
    found = found.assign(measure=MEASURE)
    return curves_over_seeds(found)


def draw_ema_study(drawn: pd.DataFrame) -> Figure:
    """A panel a setting; the first quarter of training may leave the panels below.

    Args:
        drawn: by `table`.
    """
    figure = draw_epochs(drawn)
    later = drawn.loc[drawn["epoch"] >= FIRST * drawn["epoch"].max(), ["lowest", "highest"]]
    low, high = later["lowest"].min(), max(drawn["highest"].max(), later["lowest"].min() + 1e-3)
    figure.axes[0].set_ylim(low - 0.05 * (high - low), high + 0.05 * (high - low))
    return figure


WEIGHT_DIFFERENCE_MEASURE = "plain minus averaged weights\n(L2 norm)"


def weight_difference_table(metrics: pd.DataFrame) -> pd.DataFrame:
    """What the figure shows: mean, range and spread over seeds after every epoch.

    Args:
        metrics: of all trainings, see `runs.TrainingRuns.metrics`; distances are of parameters,
            those of batch norm too, and without its statistics.

    Returns:
        See `epochs.COLUMNS`.

    Raises:
        ValueError: there is no averaged model; with the metrics that there are.
    """
    found = frames.rows_where(metrics, "metric", "weight_distance").assign(
        measure=WEIGHT_DIFFERENCE_MEASURE
    )
    return curves_over_seeds(found)
