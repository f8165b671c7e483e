"""How good networks are with few of their weights: one line a way of making them."""

import math
from collections.abc import Iterable
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from isthmus.plots import rows, style

COLUMNS = ["study", "strategy", "rewind", "rewind_step", "seed", "level", "branch", "density"]
COLUMNS += ["model", "split", "loss", "accuracy", "best_step"]
UNITS = style.UNITS | {"best_step": "iterations"}
WORDS = {"best_step": "step of lowest validation loss"}
DENSE: dict[str, Any] = {"color": "0.4", "linewidth": 1.0, "linestyle": "--"}
MARKERS = "os^vDPX*"


def table(
    levels: pd.DataFrame, metric: str = "accuracy", split: str = "test", model: str = "plain"
) -> pd.DataFrame:
    """What the figure shows: the mean over seeds of each line at each level, and its range.

    Args:
        levels: tables that `prune.py` writes, with the `study` that each row is of.
        metric: accuracy (fraction), loss (nats), or best_step (iteration of lowest validation
            loss).
        split: train, val or test.
        model: plain, best, or an averaged model tracked in training: ema_0.999, swa, latest_5.

    Returns:
        A row a point: `curve` is its name in the legend, `seeds` lists the networks that `value`
        is the mean of, and `lowest` and `highest` are the ends of their range.

    Raises:
        ValueError: there is nothing to draw; with what there is.
    """
    if metric not in UNITS:
        raise ValueError(f"metric: must be {', '.join(UNITS)}, got {metric}")
    rows.check_columns(levels, COLUMNS)
    found = rows.where(rows.where(levels, "split", split), "model", model)
    branch = found["branch"].astype(object)  # of numbers, where all are nan
    found = found.assign(branch=branch.where(branch.notna(), ""), value=found[metric])
    found = found.dropna(subset="value")
    if found.empty:
        raise ValueError(f"nothing to draw: no {metric} of split {split}, model {model}")
    found = found.assign(metric=metric, curve=_curves(found), seeds=found["seed"].astype(str))
    keys = ["curve", "branch", "study", "level", "metric", "split", "model"]
    drawn = found.groupby(keys, as_index=False, sort=False).agg(
        density=("density", "mean"),
        value=("value", "mean"),
        lowest=("value", "min"),
        highest=("value", "max"),
        seeds=("seeds", rows.listed),
    )
    places = {curve: place for place, curve in enumerate(dict.fromkeys(drawn["curve"]))}
    order = drawn.assign(place=drawn["curve"].map(places)).sort_values(["place", "level"])
    return order.drop(columns="place").reset_index(drop=True)


def _curves(found: pd.DataFrame) -> list[str]:
    """The name of each row's line: as much as tells it from the others."""
    parts = [found["strategy"].astype(str)]
    by_strategy = found.groupby("strategy")["study"].transform("nunique")
    if (by_strategy > 1).any():  # told apart by what they rewind, then by their folder
        rewound = found["rewind"].astype(str) + " " + found["rewind_step"].astype(str) + "it"
        parts.append(", rewind " + rewound)
        joined = parts[0] + parts[1]
        if (found.groupby(joined)["study"].transform("nunique") > 1).any():
            parts.append(", " + found["study"].astype(str))
    parts.append((", " + found["branch"]).where(found["branch"] != "", ""))
    return ["".join(words) for words in zip(*parts, strict=True)]


def draw(drawn: pd.DataFrame) -> Figure:
    """Lines over the share of weights left, from the dense network on; bands are ranges of seeds.

    Args:
        drawn: by `table`.
    """
    first, colours = drawn.iloc[0], style.COLOURS
    with style.look():
        figure, (axes,) = style.grid(1)
        for place, (curve, points) in enumerate(drawn.groupby("curve", sort=False)):
            look: dict[str, Any] = {
                "color": colours[place % len(colours)],
                "marker": MARKERS[place % len(MARKERS)],
            }
            if points["branch"].iloc[0]:
                look["linestyle"] = ":"
            axes.plot(points["density"], points["value"], **look, markersize=4, label=curve)
            ends = points["lowest"], points["highest"]
            axes.fill_between(points["density"], *ends, color=look["color"], alpha=0.15, lw=0)
        dense = drawn.loc[(drawn["level"] == 0) & (drawn["branch"] == ""), "value"]
        if len(dense) and first["metric"] != "best_step":
            axes.axhline(dense.mean(), **DENSE, label="dense", zorder=1)
        density_axis(axes, drawn["density"])
        words = WORDS.get(first["metric"], f"{first['split']} {first['metric']}")
        axes.set_ylabel(f"{words} ({UNITS[first['metric']]})")
        style.legend(figure, [axes], title=f"model {first['model']}")
    return figure


def density_axis(axes: Axes, densities: pd.Series) -> None:
    """Make the x axis one of weights remaining: logarithmic, the dense network at the left."""
    axes.set_xscale("log")
    ticks = density_ticks(densities)
    axes.set_xticks(ticks, [f"{density:.3g}" for density in ticks])
    axes.set_xticks([], minor=True)
    axes.invert_xaxis()
    axes.set_xlabel("weights remaining (fraction)")


def density_ticks(densities: Iterable[float]) -> list[float]:
    """Densities that were measured, from the largest on, as many as have room for their labels."""
    measured = sorted(set(densities), reverse=True)
    apart = max(math.log10(measured[0] / measured[-1]) / 9, 0.01)
    ticks = measured[:1]
    for density in measured[1:]:
        if math.log10(ticks[-1] / density) > apart:
            ticks.append(density)
    return ticks
