"""Loss against learning rate, a line for every width, with the best learning rate of each."""

import math

import pandas as pd
from matplotlib.figure import Figure

from isthmus.plots import rows, style

COLUMNS = ["parametrization", "width", "lr", "status"]


def table(results: pd.DataFrame, metric: str = "train_loss") -> pd.DataFrame:
    """What the figure shows: the mean over seeds of each point, and where it is lowest.

    Args:
        results: one row a training, by `sweep_rows.results`.
        metric: column that is to be low.

    Returns:
        A row a learning rate: `value` is empty if one of the seeds diverged (`num_diverged` says
        how many did); `is_best` marks the lowest of a width.

    Raises:
        ValueError: there is nothing to draw.
    """
    rows.check_columns(results, [*COLUMNS, metric])
    found = results[results["status"] != "failed"]
    if found[metric].isna().all():
        raise ValueError(f"nothing to draw: no {metric} of any training")
    keys = ["parametrization", "width", "lr"]
    drawn = found.groupby(keys, as_index=False).agg(
        value=(metric, lambda values: values.mean(skipna=False)),
        num_seeds=("status", "size"),
        num_diverged=("status", lambda status: int((status == "diverged").sum())),
    )
    lowest = drawn.groupby(keys[:2])["value"].transform("min")
    return drawn.assign(metric=metric, is_best=drawn["value"] == lowest)


def shifts(drawn: pd.DataFrame) -> pd.Series:
    """By parametrization: the most by which the best learning rates of two widths differ, log2.

    Args:
        drawn: by `table`.
    """
    best = drawn[drawn["is_best"]].groupby("parametrization")["lr"]
    return best.agg(lambda lrs: math.log2(lrs.max() / lrs.min()))


def draw(drawn: pd.DataFrame) -> Figure:
    """A panel a parametrization; stars are the best rates, crosses trainings that diverged.

    Args:
        drawn: by `table`.
    """
    names = list(dict.fromkeys(drawn["parametrization"]))
    widths = sorted(drawn["width"].unique())
    top = drawn["value"].max()
    with style.look():
        figure, panels = style.grid(len(names))
        for axes, name in zip(panels, names, strict=True):
            here = drawn[drawn["parametrization"] == name]
            for width, colour in zip(widths, style.sequential(len(widths)), strict=True):
                points = here[here["width"] == width].sort_values("lr")
                label = f"width {width}"
                axes.plot(points["lr"], points["value"], "o-", color=colour, label=label)
                best = points[points["is_best"]]
                axes.plot(best["lr"], best["value"], "*", color=colour, markersize=11)
                gone = points[points["value"].isna()]
                axes.plot(gone["lr"], [top] * len(gone), "x", color=colour, markersize=5)
            axes.set_xscale("log", base=2)
            style.loss_axis(axes)
            axes.set_title(str(name))
            axes.set_xlabel("learning rate")
        words = drawn["metric"].iloc[0].replace("_", " ")
        panels[0].set_ylabel(f"{words} (nats)")
        style.legend(figure, panels, title="best: star; diverged: cross")
    return figure
