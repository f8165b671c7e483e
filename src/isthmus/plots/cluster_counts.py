"""How many clusters are large at each height of the tree, a panel a layer."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from isthmus.plots import rows, style

COLUMNS = ["layer", "height", "large", "cut", "plateau_start", "plateau_end", "limit"]
LOWEST = 1e-7  # height that is drawn; below it there is rounding only


def table(counts: pd.DataFrame) -> pd.DataFrame:
    """What the figure shows: a row a height at which the number changes.

    Args:
        counts: as `extract.py` writes them.

    Raises:
        ValueError: there are none, or the table is another one.
    """
    rows.check_columns(counts, COLUMNS)
    if counts.empty:
        raise ValueError("nothing to draw: the table of counts has no rows")
    return counts[COLUMNS]


def draw(drawn: pd.DataFrame) -> Figure:
    """Steps over the logarithm of height, with the plateau that was chosen and the cut in it.

    Args:
        drawn: by `table`.
    """
    layers = sorted(set(drawn["layer"]))
    with style.look():
        figure = Figure(figsize=(5.4, 2.5 * len(layers) + 0.8), layout="constrained")
        panels = figure.subplots(len(layers), squeeze=False)[:, 0]
        for axes, layer in zip(panels, layers, strict=True):
            draw_counts(axes, drawn[drawn["layer"] == layer])
        panels[-1].set_xlabel("distance at which the tree is cut")
        figure.supylabel("large clusters")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper left", ncols=3)
    return figure


def draw_counts(axes: Axes, counts: pd.DataFrame) -> None:
    """The counts of one layer."""
    first = counts.iloc[0]
    heights = counts["height"].clip(lower=LOWEST)
    end = max(heights.max(), first["limit"]) * 1.2
    steps = pd.concat([heights, pd.Series([end])])
    axes.plot(steps, [*counts["large"], counts["large"].iloc[-1]], drawstyle="steps-post")
    axes.axvspan(
        max(first["plateau_start"], LOWEST), first["plateau_end"], color="C0", alpha=0.15,
        linewidth=0, label="plateau",
    )  # fmt: skip
    axes.axvline(first["cut"], color="black", linestyle="--", label="cut")
    axes.axvline(first["limit"], color="C3", linestyle=":", label="angle beta")
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_title(f"hidden layer {first['layer']:.0f}")
