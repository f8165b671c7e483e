"""Value of every trial in turn, and the best so far."""

from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from isthmus.plots import rows, style, trial_slices

EACH: dict[str, Any] = {"color": "0.6", "s": 14}
BEST: dict[str, Any] = {"color": "#0072b2", "linewidth": 1.8}


def table(trials: pd.DataFrame) -> pd.DataFrame:
    """What the figure shows: number and value of each trial, and the best value so far.

    Args:
        trials: as `tune.py` writes it; those that are not complete have no value.

    Raises:
        ValueError: none is complete, or the table is another one.
    """
    rows.check_columns(trials, ["number", "state", "value"])
    rows.where(trials, "state", "complete")
    drawn = trials.sort_values("number")[["number", "state", "value"]].reset_index(drop=True)
    return drawn.assign(best=drawn["value"].cummax().ffill())


def draw(drawn: pd.DataFrame) -> Figure:
    """A point a trial that is complete, a cross below for one that failed, a line of the best.

    Args:
        drawn: by `table`.
    """
    with style.look():
        figure = Figure(figsize=(5.4, 3.4), layout="constrained")
        axes = figure.subplots()
        done, failed = (drawn[drawn["state"] == state] for state in ("complete", "failed"))
        axes.scatter(done["number"], done["value"], **EACH, label="trial")
        axes.step(drawn["number"], drawn["best"], where="post", **BEST, label="best so far")
        if len(failed):
            foot = [done["value"].min()] * len(failed)
            axes.scatter(failed["number"], foot, marker="x", color="#d55e00", label="failed")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("trial (number)")
        axes.set_ylabel(trial_slices.VALUE)
        figure.legend(loc="outside upper left", ncols=3)
    return figure
