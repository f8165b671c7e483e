"""Curves over the epochs of training: a panel a setting and a row a measure, bands over seeds."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from isthmus.plots import models, style, trained

KEYS = ["setting", "model", "measure", "epoch"]
COLUMNS = [*KEYS, "value", "std", "lowest", "highest", "num_seeds", "seeds"]
LABEL = "epoch (passes over the training set)"


def of_seeds(points: pd.DataFrame) -> pd.DataFrame:
    """What is drawn of the curves of trainings: means over those that differ in their seed only.

    Args:
        points: with `KEYS`, `seed` and `value`.

    Returns:
        `COLUMNS`, a row a point.
    """
    return trained.over_seeds(points, KEYS)[COLUMNS]


def draw(drawn: pd.DataFrame) -> Figure:
    """Means over seeds as curves, their ranges as bands; the y axis is named by the measure.

    Args:
        drawn: `COLUMNS`, a row a point.
    """
    settings, measures = (list(dict.fromkeys(drawn[key])) for key in ("setting", "measure"))
    looks = models.looks(drawn["model"])
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
    for model in models.ordered(panel["model"]):
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
