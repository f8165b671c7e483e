"""Loss and size of outputs against step, a panel for every activation."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from isthmus.plots import rows, style

COLUMNS = ["parametrization", "seed", "step", "metric", "value"]
WORDS = {"examples_loss": "train loss (nats)", "output": "mean |f|"}


def table(metrics: pd.DataFrame) -> pd.DataFrame:
    """What the figure shows: means over seeds, with their range, of loss and outputs at each step.

    Args:
        metrics: rows of metrics.csv of several networks, with what each was given; those with
            activations of their own are told apart.

    Raises:
        ValueError: there is nothing to draw.
    """
    rows.check_columns(metrics, COLUMNS)
    if "activation" not in metrics:
        metrics = metrics.assign(activation="")
    found = metrics[metrics["metric"].isin(list(WORDS))]
    if found.empty:
        raise ValueError("nothing to draw: no diagnostics.steps were measured")
    keys = ["metric", "activation", "parametrization", "step"]
    return found.groupby(keys, as_index=False).agg(
        value=("value", "mean"),
        lowest=("value", "min"),
        highest=("value", "max"),
        num_seeds=("seed", "nunique"),
    )


def draw(drawn: pd.DataFrame) -> Figure:
    """Two rows, loss and outputs; bands are ranges of seeds.

    Args:
        drawn: by `table`.
    """
    activations = list(dict.fromkeys(drawn["activation"]))
    names = list(dict.fromkeys(drawn["parametrization"]))
    colours = style.COLOURS
    with style.look():
        size = (3.0 * len(activations) + 1.5, 5.0)
        figure = Figure(figsize=size, layout="constrained")
        panels = figure.subplots(2, len(activations), sharex=True, sharey="row", squeeze=False)
        keys = ["metric", "activation", "parametrization"]
        for (metric, activation, name), points in drawn.groupby(keys, sort=False):
            row, column = list(WORDS).index(str(metric)), activations.index(activation)
            axes: Axes = panels[row, column]
            colour = colours[names.index(name) % len(colours)]
            axes.plot(points["step"], points["value"], color=colour, label=str(name))
            axes.fill_between(
                points["step"], points["lowest"], points["highest"], color=colour, alpha=0.15, lw=0
            )
        for column, activation in enumerate(activations):
            panels[0, column].set_title(str(activation))
            panels[1, column].set_xlabel("step (iterations)")
            panels[1, column].set_yscale("log")
        for row, words in enumerate(WORDS.values()):
            panels[row, 0].set_ylabel(words)
        style.legend(figure, list(panels.ravel()), title="")
    return figure
