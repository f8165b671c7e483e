"""Effective ranks from layer to layer, of weights, of their changes and of activations."""

import pandas as pd
from matplotlib.figure import Figure

from src.plots import rows, style

COLUMNS = ["parametrization", "seed", "step", "metric", "value"]
KINDS = ("weight", "change", "activation")
RANKS = {"trace": "squared-trace", "frobenius": "Frobenius/spectral"}


def table(metrics: pd.DataFrame, rank: str = "trace") -> pd.DataFrame:
    """What the figure shows: means over seeds of each layer at each step.

    Args:
        metrics: rows of metrics.csv of several networks, with what each was given.
        rank: trace or frobenius.

    Raises:
        ValueError: there is nothing to draw, or `rank` is none of these.
    """
    if rank not in RANKS:
        raise ValueError(f"rank: must be {', '.join(RANKS)}, got {rank}")
    rows.check_columns(metrics, COLUMNS)
    pattern = rf"rank_{rank}_(?P<kind>{'|'.join(KINDS)})_(?P<layer>.+)"
    parts = metrics["metric"].str.extract(pattern)
    found = metrics.assign(kind=parts["kind"], layer=parts["layer"]).dropna(subset="kind")
    if found.empty:
        raise ValueError("nothing to draw: no diagnostics.ranks were measured")
    if "activation" not in found:
        found = found.assign(activation="")
    keys = ["kind", "activation", "parametrization", "step", "layer"]
    drawn = found.groupby(keys, as_index=False, sort=False).agg(value=("value", "mean"))
    return drawn.assign(rank=rank)


def draw(drawn: pd.DataFrame) -> Figure:
    """A panel for weights, changes and activations; a line a parametrization and a step.

    Args:
        drawn: by `table`, of one activation or with lines for all of them.
    """
    kinds = [kind for kind in KINDS if (drawn["kind"] == kind).any()]
    layers = list(dict.fromkeys(drawn["layer"]))
    places = {layer: place for place, layer in enumerate(layers)}
    names = list(dict.fromkeys(drawn["parametrization"]))
    all_steps = sorted(drawn["step"].unique())
    lines = ["-", "--", ":", "-."]
    colours = style.COLOURS
    with style.look():
        figure, panels = style.grid(len(kinds))
        for axes, kind in zip(panels, kinds, strict=True):
            here = drawn[drawn["kind"] == kind]
            keys = ["parametrization", "activation", "step"]
            for (name, activation, step), points in here.groupby(keys, sort=False):
                words = [str(name), str(activation), f"step {step}"]
                axes.plot(
                    points["layer"].map(places),
                    points["value"],
                    lines[all_steps.index(step) % 4],
                    marker="o",
                    color=colours[names.index(name) % len(colours)],
                    label=" ".join(word for word in words if word),
                )
            axes.set_yscale("log")
            axes.set_title(kind)
            axes.set_xticks(range(len(layers)), layers, rotation=60)
        panels[0].set_ylabel(f"{RANKS[drawn['rank'].iloc[0]]} rank")
        style.legend(figure, panels, title="")
    return figure
