"""Effective ranks from layer to layer, of weights, of their changes and of activations."""

import pandas as pd
from matplotlib.figure import Figure

from isthmus.plots import rows, style

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
    """A row an activation, a panel for weights, changes and activations; a line a parametrization
    and a step.

    Args:
        drawn: by `table`.
    """
    kinds = [kind for kind in KINDS if (drawn["kind"] == kind).any()]
    activations = list(dict.fromkeys(drawn["activation"]))
    layers = list(dict.fromkeys(drawn["layer"]))
    places = {layer: place for place, layer in enumerate(layers)}
    names, all_steps = list(dict.fromkeys(drawn["parametrization"])), sorted(drawn["step"].unique())
    lines, colours = ["-", "--", ":", "-."], style.COLOURS
    with style.look():
        figure, panels = style.grid(len(activations) * len(kinds), len(kinds))
        for number, axes in enumerate(panels):
            activation, kind = activations[number // len(kinds)], kinds[number % len(kinds)]
            here = drawn[(drawn["kind"] == kind) & (drawn["activation"] == activation)]
            here = here[here["value"] > 0]  # nothing has changed yet at the initialization
            for (name, step), points in here.groupby(["parametrization", "step"], sort=False):
                axes.plot(
                    points["layer"].map(places),
                    points["value"],
                    lines[all_steps.index(step) % 4],
                    marker="o",
                    color=colours[names.index(name) % len(colours)],
                    label=f"{name} step {step}",
                )
            axes.set_yscale("log")
            axes.set_title(" ".join(word for word in (str(activation), kind) if word))
            axes.set_xticks(range(len(layers)), layers, rotation=60)
        for axes in panels[:: len(kinds)]:
            axes.set_ylabel(f"{RANKS[drawn['rank'].iloc[0]]} rank")
        style.legend(figure, panels, title="")
    return figure
