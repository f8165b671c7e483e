"""How outputs, and their change, grow with width: points, fitted slopes, and those of theory."""

from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from isthmus.plots import rows, style

COLUMNS = ["parametrization", "depth", "width", "seed", "step", "metric", "value"]
WORDS = {"output": "|f|", "output_change": "|f - f0|"}
KEYS = ["parametrization", "depth", "metric", "step"]


def table(metrics: pd.DataFrame) -> pd.DataFrame:
    """What the figure shows: outputs at the beginning, and their changes at all later steps.

    Args:
        metrics: rows of metrics.csv of networks of several widths, with what each was given.

    Returns:
        A row a network: `value` is the mean of |f| or of |f - f0|; `slope` that of its logarithm
        in log m over all widths and seeds, `theory` what the exponents say of it, empty where they
        say nothing: after the first step.

    Raises:
        ValueError: there is nothing to draw, or there is one width only.
    """
    rows.check_columns(metrics, COLUMNS)
    at_start = (metrics["metric"] == "output") & (metrics["step"] == 0)
    later = (metrics["metric"] == "output_change") & (metrics["step"] > 0)
    found = metrics.loc[at_start | later, COLUMNS]
    if found.empty or found["width"].nunique() < 2:
        raise ValueError("nothing to draw: slopes need outputs of networks of several widths")
    told = metrics[metrics["metric"].str.startswith("slope_")]
    of_theory = {
        (name, depth, metric.removeprefix("slope_")): value
        for name, depth, metric, value in zip(
            *(told[key] for key in ("parametrization", "depth", "metric", "value")), strict=True
        )
    }
    parts = []
    for (name, depth, metric, step), part in found.groupby(KEYS, sort=False):
        theory = of_theory.get((name, depth, metric)) if step in (0, 1) else None
        parts.append(part.assign(slope=slope(part), theory=theory))
    return pd.concat(parts).sort_values([*KEYS, "width", "seed"]).reset_index(drop=True)


def slope(part: pd.DataFrame) -> float:
    """Of the logarithm of the values in the logarithm of the width, by least squares."""
    return float(np.polyfit(np.log(part["width"]), np.log(part["value"]), 1)[0])


def summary(drawn: pd.DataFrame) -> pd.DataFrame:
    """A row a slope: parametrization, depth, metric, step, slope, theory.

    Args:
        drawn: by `table`.
    """
    return drawn[[*KEYS, "slope", "theory"]].drop_duplicates().reset_index(drop=True)


def draw(drawn: pd.DataFrame) -> Figure:
    """A column a depth; a row the outputs at the beginning, then their change step by step.

    Args:
        drawn: by `table`.
    """
    depths = sorted(drawn["depth"].unique())
    kinds = sorted(set(zip(drawn["metric"], drawn["step"], strict=True)))
    names = list(dict.fromkeys(drawn["parametrization"]))
    colours = style.COLOURS
    with style.look():
        figure = Figure(figsize=(3.1 * len(depths), 2.4 * len(kinds) + 0.6), layout="constrained")
        panels = figure.subplots(len(kinds), len(depths), sharex=True, squeeze=False)
        for (row, (metric, step)), (column, depth) in product(enumerate(kinds), enumerate(depths)):
            axes, here = panels[row, column], drawn[drawn["depth"] == depth]
            here = here[(here["metric"] == metric) & (here["step"] == step)]
            for name, points in here.groupby("parametrization", sort=False):
                colour = colours[names.index(name) % len(colours)]
                _draw_line(axes, points, str(name), colour)
            axes.set_xscale("log", base=2)
            axes.set_yscale("log")
            axes.legend(fontsize=7, title="slope (theory)", title_fontsize=7)
            axes.set_title(f"{depth} hidden layers, {style.moment(int(step), None)}")
            axes.set_xticks(sorted(here["width"].unique()), sorted(here["width"].unique()))
            axes.set_xticks([], minor=True)
            axes.set_ylabel(f"mean {WORDS[metric]}" if column == 0 else "")
            axes.set_xlabel("width" if row == len(kinds) - 1 else "")
    return figure


def _draw_line(axes: Axes, points: pd.DataFrame, name: str, colour: Any) -> None:
    theory = points["theory"].iloc[0]
    label = f"{name} {points['slope'].iloc[0]:.2f}"
    label += f" ({theory:g})" if pd.notna(theory) else ""
    axes.plot(points["width"], points["value"], ".", color=colour, alpha=0.4)
    means = np.log(points.set_index("width")["value"]).groupby(level=0).mean()
    fit = np.polyfit(np.log(means.index), means, 1)
    axes.plot(means.index, np.exp(np.polyval(fit, np.log(means.index))), color=colour, label=label)
