"""Figures over epochs: EMA studies, and distances between weights."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from isthmus.plots import frames, runs, style
from isthmus.plots.files import Drawing
from isthmus.plots.panels import (
    add_legend,
    draw_band,
    make_grid,
    make_panels,
    shorten_settings,
    split_pages,
)

KEYS = ["setting", "model", "measure", "epoch"]
COLUMNS = [*KEYS, "value", "std", "lowest", "highest", "num_seeds", "seeds"]
LABEL = "epoch (passes over the training set)"
BLOCK = 4  # panels side by side
PANELS = 24  # of one figure; more settings need several


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
    titles, common = shorten_settings(settings)
    looks = style.looks(drawn["model"])
    if len(measures) == 1:
        figure, panels = make_grid(len(settings), labels=(LABEL, measures[0]))
        for setting, axes in zip(settings, panels, strict=True):
            draw_curves(axes, drawn[drawn["setting"] == setting], looks)
            axes.set_title(titles[setting])
    else:
        figure, panels = draw_blocks(drawn, titles, measures, looks)
    add_legend(figure, panels, title=heading(drawn, common), order=looks)
    return figure


def draw_blocks(
    drawn: pd.DataFrame,
    titles: Mapping[str, str],
    measures: Sequence[str],
    looks: dict[str, dict[str, Any]],
) -> tuple[Figure, list[Axes]]:
    """Draw a row of panels per measure, a column per setting; many settings are wrapped.

    Panels of one measure have a common y axis.

    Args:
        drawn: the table of the figure.
        titles: by setting.
        measures: of the rows.
        looks: by model.
    """
    settings = list(titles)
    columns = min(len(settings), BLOCK)
    num_rows = len(measures) * math.ceil(len(settings) / columns)
    size = (max(2.9 * columns, 5.4), 2.3 * num_rows + 1.1)
    figure, rows = make_panels(num_rows, columns, size, labels=(LABEL, ""))
    panels = []
    for place, row in enumerate(rows):
        block, number = divmod(place, len(measures))
        here = settings[block * columns : (block + 1) * columns]
        for setting, axes in zip(here, row, strict=False):
            if axes is not rows[number, 0]:
                axes.sharey(rows[number, 0])
            axes.tick_params(labelleft=axes is row[0], labelbottom=number == len(measures) - 1)
            of_panel = (drawn["setting"] == setting) & (drawn["measure"] == measures[number])
            draw_curves(axes, drawn[of_panel], looks)
            if number == 0:
                axes.set_title(titles[setting])
            panels.append(axes)
        row[0].set_ylabel(measures[number])
        for axes in row[len(here) :]:
            axes.remove()
    return figure, panels


def draw_curves(axes: Axes, panel: pd.DataFrame, looks: dict[str, dict[str, Any]]) -> None:
    """Draw the curves of one setting and one measure."""
    for model in style.order_models(panel["model"]):
        points = panel[panel["model"] == model].sort_values("epoch")
        draw_band(axes, "epoch", points, model, **looks[model])


def heading(drawn: pd.DataFrame, common: str = "") -> str:
    """Title of the legend: the seeds that curves and bands are over; what all panels have."""
    counts = drawn["num_seeds"]
    seeds = f"mean and range of {style.span(counts.min(), counts.max())} seeds"
    return "\n".join(filter(None, [common, "one seed" if counts.max() == 1 else seeds]))


MEASURE = "validation accuracy (fraction)"
FIRST = 0.25  # part of the epochs whose values may be below the y axis: they set no limit
NEAR = 0.6  # of the best accuracy, below which a training sets no limit


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
    for end, rows in split_pages(ema_study_table(study.metrics), "setting", PANELS):
        yield Drawing(f"ema_study{end}", rows, draw_ema_study)


def draw_ema_study(drawn: pd.DataFrame) -> Figure:
    """Draw one panel per setting; curves may begin below the panels, which is written there.

    What is seen is all after the first quarter of each training, with the ranges of seeds; of a
    training that ends far below the others, its accuracy is written into its panel.
    """
    figure = draw_epochs(drawn)
    settings = dict.fromkeys(drawn["setting"])
    ends = drawn.groupby("setting")["epoch"].transform("max")
    later = drawn[drawn["epoch"] >= FIRST * ends]
    highest = drawn.groupby("setting")["highest"].max()
    good = later[later["setting"].map(highest) >= NEAR * highest.max()]
    low, high = good["lowest"].min(), good["highest"].max()
    begun = drawn[(drawn["value"] >= low) & drawn["setting"].isin(good["setting"])]
    low = min(low, begun["lowest"].min())  # no band is cut beside its curve
    room = 0.05 * max(high - low, 1e-3)
    figure.axes[0].set_ylim(low - room, high + room)
    for setting, axes in zip(settings, figure.axes, strict=False):
        if not highest[setting] >= low - room:
            is_number = pd.notna(highest[setting])
            below = f"below the panel:\nat most {highest[setting]:.3g}"
            words = below if is_number else "no accuracy:\nthe training diverged"
            axes.text(0.5, 0.5, words, ha="center", va="center", transform=axes.transAxes)
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
    for end, rows in split_pages(weight_difference_table(study.metrics), "setting", PANELS):
        yield Drawing(f"weight_difference{end}", rows, draw_epochs)
