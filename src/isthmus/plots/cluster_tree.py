"""The tree of the units of all students, and where it is cut, a panel a layer."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from isthmus.plots import rows, style

COLUMNS = ["layer", "left", "left_height", "right", "right_height", "height", "cluster", "cut"]
COLUMNS += ["num_shown", "num_units"]
NO_CLUSTER = "0.65"
LOWEST = 1e-7  # height that is drawn; below it there is rounding only


def table(merges: pd.DataFrame) -> pd.DataFrame:
    """What the figure shows: a row a merge.

    Args:
        merges: as `extract.py` writes them.

    Raises:
        ValueError: there are none, or the table is another one.
    """
    rows.check_columns(merges, COLUMNS)
    if merges.empty:
        raise ValueError("nothing to draw: the table of merges has no rows")
    return merges[COLUMNS]


def draw(drawn: pd.DataFrame) -> Figure:
    """Dendrograms with heights in logarithms; a colour a cluster, grey where there is none.

    Args:
        drawn: by `table`.
    """
    layers = sorted(set(drawn["layer"]))
    with style.look():
        figure = Figure(figsize=(7, 2.9 * len(layers) + 0.4), layout="constrained")
        panels = figure.subplots(len(layers), squeeze=False)[:, 0]
        for axes, layer in zip(panels, layers, strict=True):
            draw_tree(axes, drawn[drawn["layer"] == layer])
        figure.supylabel("distance at which units join")
    return figure


def draw_tree(axes: Axes, merges: pd.DataFrame) -> None:
    """The tree of one layer."""
    first = merges.iloc[0]
    lowest = max(LOWEST, merges["height"][merges["height"] > 0].min() / 2)
    corners = np.empty((len(merges), 4, 2))  # up the left, across, down the right
    for corner, (place, height) in enumerate(
        (
            ("left", "left_height"),
            ("left", "height"),
            ("right", "height"),
            ("right", "right_height"),
        )
    ):
        corners[:, corner, 0] = merges[place]
        corners[:, corner, 1] = merges[height].clip(lower=lowest)
    names = sorted(set(merges["cluster"]) - {-1})
    colours = dict(zip(names, style.distinct(len(names)), strict=True))
    looks = [colours.get(cluster, NO_CLUSTER) for cluster in merges["cluster"]]
    axes.add_collection(LineCollection(list(corners), colors=looks, linewidths=0.8))
    axes.axhline(first["cut"], color="black", linestyle="--", label="cut")
    axes.set_yscale("log")
    axes.set_xlim(-1, first["num_shown"])
    axes.set_ylim(lowest, 1.3 * merges["height"].max())
    axes.set_xticks([])
    axes.grid(axis="x", visible=False)
    axes.set_title(f"hidden layer {first['layer']:.0f}")
    axes.set_xlabel(shown(first["num_shown"], first["num_units"]))
    axes.legend(loc="lower right")


def shown(num_shown: int, num_units: int) -> str:
    """How many units of how many, in words."""
    if num_shown == num_units:
        return f"units of all students ({num_units:.0f})"
    return f"units of all students ({num_shown:.0f} of {num_units:.0f})"
