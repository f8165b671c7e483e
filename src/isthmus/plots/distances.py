"""How far children get from the origin, their initialization, their parent and each other."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from isthmus.plots import rows, style

MEASURES = {"l2": "L2 distance", "cosine": "cosine similarity"}
OTHERS = {
    "origin": "origin (norm of the weights)",
    "initialization": "initialization",
    "parent": "parent at the spawn step",
    "siblings": "siblings (mean)",
}
QUANTITIES = [f"l2_{other}" for other in OTHERS]
QUANTITIES += [f"cosine_{other}" for other in OTHERS if other != "origin"]
LEGEND_MOST = 11  # names that fit into a panel


def table(distance: pd.DataFrame) -> pd.DataFrame:
    """What the figure shows: each distance and cosine, its mean over the children.

    Args:
        distance: as `spawn.py` writes it; no siblings where there is one child.

    Returns:
        A row a point: its `measure` (l2 or cosine), of what (`to`), and `seeds`, the children
        that `value` is the mean of.

    Raises:
        ValueError: there is nothing to draw, or the table is another one.
    """
    rows.check_columns(distance, [*rows.MOMENT, "seed", *QUANTITIES])
    if distance[QUANTITIES].isna().all(axis=None):
        raise ValueError("nothing to draw: the table of distances has no numbers")
    long = distance.melt([*rows.MOMENT, "seed"], QUANTITIES, "quantity").dropna(subset="value")
    long[["measure", "to"]] = long["quantity"].str.split("_", expand=True)
    long["quantity"] = pd.Categorical(long["quantity"], QUANTITIES)
    long["seeds"] = long["seed"].astype(str)
    keys = ["quantity", "measure", "to", *rows.MOMENT]
    means = long.groupby(keys, as_index=False, observed=True).agg(
        {"seeds": rows.listed, "value": "mean"}
    )
    return means.drop(columns="quantity")


def draw(drawn: pd.DataFrame) -> Figure:
    """Distances above, cosines below, a panel each; a curve a spawn step, from dark to light.

    Args:
        drawn: by `table`.
    """
    others = [other for other in OTHERS if (drawn["to"] == other).any()]
    with style.look():
        figure = Figure(figsize=(2.5 * len(others) + 0.6, 5.2), layout="constrained")
        panels = figure.subplots(2, len(others), sharex=True, sharey="row", squeeze=False)
        draw_row(list(panels[0]), drawn, "l2", others)
        draw_row(list(panels[1, 1:]), drawn, "cosine", others[1:])
        panels[0, 0].tick_params(labelbottom=True)
        panels[1, 1].tick_params(labelleft=True)
        panels[1, 0].set_axis_off()  # nothing has a cosine to the origin: room for the legend
        curves = panels[0, 0].get_lines()
        named = [curves[place] for place in style.spread(len(curves), LEGEND_MOST)]
        panels[1, 0].legend(handles=named, title="spawn step", alignment="left", loc="upper left")
        figure.supxlabel(style.CHILD_STEP)
    return figure


def draw_row(panels: list[Axes], drawn: pd.DataFrame, measure: str, others: list[str]) -> None:
    """The panels of one measure."""
    spawn_steps = sorted(set(drawn["spawn_step"]))
    per_epoch = style.iterations_per_epoch(drawn)
    colours = style.sequential(len(spawn_steps))
    for axes, other in zip(panels, others, strict=True):
        points = drawn[(drawn["measure"] == measure) & (drawn["to"] == other)]
        for colour, spawn_step in zip(colours, spawn_steps, strict=True):
            curve = points[points["spawn_step"] == spawn_step]
            label = style.moment(spawn_step, per_epoch)
            axes.plot(curve["child_step"], curve["value"], ".-", color=colour, label=label)
        axes.set_title(f"to {OTHERS[other]}")
        style.step_axis(axes, drawn["child_step"], per_epoch)
    panels[0].set_ylabel(MEASURES[measure])
