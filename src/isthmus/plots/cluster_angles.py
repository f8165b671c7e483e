"""How well the units of each large cluster point the same way, a panel a layer."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from isthmus.plots import rows, style

COLUMNS = ["layer", "cluster", "size", "num_students", "angle", "beta", "kept"]
LOWEST = 1e-8  # radians that are drawn
KEPT, NOT_KEPT = "C0", "C3"


def table(clusters: pd.DataFrame) -> pd.DataFrame:
    """What the figure shows: a row a large cluster.

    Args:
        clusters: as `extract.py` writes them.

    Raises:
        ValueError: there are none, or the table is another one.
    """
    rows.check_columns(clusters, COLUMNS)
    if clusters.empty:
        raise ValueError("nothing to draw: the table of clusters has no rows")
    return clusters[COLUMNS]


def draw(drawn: pd.DataFrame) -> Figure:
    """Median angles, smallest first, under the largest that is allowed, beta.

    Args:
        drawn: by `table`.
    """
    layers = sorted(set(drawn["layer"]))
    with style.look():
        figure = Figure(figsize=(5.4, 2.3 * len(layers) + 0.9), layout="constrained")
        panels = figure.subplots(len(layers), squeeze=False)[:, 0]
        for axes, layer in zip(panels, layers, strict=True):
            bars = drawn[drawn["layer"] == layer].sort_values(
                ["kept", "angle"], ascending=[False, True]
            )
            places = np.arange(len(bars))
            for kept, colour, label in ((True, KEPT, "kept"), (False, NOT_KEPT, "not kept")):
                chosen = (bars["kept"] == kept).to_numpy()
                heights = bars["angle"][chosen].clip(lower=LOWEST)
                axes.plot(places[chosen], heights, "o", color=colour, label=label, markersize=4)
            axes.axhline(bars["beta"].iloc[0], color="black", linestyle="--", label="beta")
            axes.set_yscale("log")
            axes.set_xticks([])
            axes.set_xlim(-0.6, max(len(bars) - 0.4, 0.6))
            axes.set_title(f"hidden layer {layer}")
        panels[-1].set_xlabel("large clusters")
        figure.supylabel("median angle within (radians)")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper left", ncols=3)
    return figure
