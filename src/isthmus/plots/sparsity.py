"""What is left of each layer, level after level."""

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from isthmus.plots import rows, style

COLUMNS = ["level", "layer", "density"]
LEGEND_MOST = 12  # levels that are named


def table(kept: pd.DataFrame) -> pd.DataFrame:
    """What the figure shows: the density of each layer at each level.

    Args:
        kept: level, layer and density, "total" for all layers together.

    Raises:
        ValueError: there is nothing to draw, or the table is another one.
    """
    rows.check_columns(kept, COLUMNS)
    drawn = kept.loc[kept["layer"] != "total", COLUMNS].reset_index(drop=True)
    if drawn.empty:
        raise ValueError("nothing to draw: the table of sparsity has no layers")
    return drawn


def draw(drawn: pd.DataFrame) -> Figure:
    """A line a level, from dark to light, over the layers from input to output.

    Args:
        drawn: by `table`.
    """
    layers, levels = list(dict.fromkeys(drawn["layer"])), sorted(set(drawn["level"]))
    named = [levels[place] for place in style.spread(len(levels), LEGEND_MOST)]
    with style.look():
        width = min(max(0.35 * len(layers) + 2.5, 4.5), 12)
        figure = Figure(figsize=(width, 4.6), layout="constrained")
        axes = figure.subplots()
        for colour, level in zip(style.sequential(len(levels)), levels, strict=True):
            points = drawn[drawn["level"] == level].set_index("layer").reindex(layers).dropna()
            places = [layers.index(layer) for layer in points.index]
            label = f"{level}" if level in named else None
            axes.plot(places, points["density"], "o-", color=colour, markersize=3, label=label)
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.set_yticks([], minor=True)
        axes.set_xticks(range(len(layers)), layers, rotation=90 if len(layers) > 6 else 0)
        axes.set_xlabel("layer")
        axes.set_ylabel("weights remaining (fraction)")
        figure.legend(loc="outside right upper", title="level")
    return figure
