"""How close each unit of the teacher was come to, and which units are in excess."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from isthmus.plots import rows, style

UNITS = ["layer", "unit", "found_unit", "distance_in", "distance_out"]
EXCESS = ["layer", "found_unit", "nearest_unit", "distance_in", "length_out"]
COLUMNS = ["layer", "kind", "unit", "quantity", "distance", "length_out"]
LOWEST = 1e-16
INTO, OUT, MISSING, MORE = "what goes in", "what goes out", "missing", "in excess"
LOOKS = {INTO: ("o", "C0"), OUT: ("s", "C1"), MISSING: ("x", "C3"), MORE: ("^", "0.4")}


def table(comparison: pd.DataFrame, excess: pd.DataFrame) -> pd.DataFrame:
    """What the figure shows: a row a mark.

    Args:
        comparison: as `extract.py` writes it.
        excess: likewise.

    Raises:
        ValueError: there is nothing to draw, or a table is another one.
    """
    rows.check_columns(comparison, UNITS)
    rows.check_columns(excess, EXCESS)
    if comparison.empty:
        raise ValueError("nothing to draw: the table of the comparison has no rows")
    there = comparison["found_unit"].notna()
    marks = []
    for quantity, column in ((INTO, "distance_in"), (OUT, "distance_out")):
        some = comparison[there].assign(kind="unit", quantity=quantity)
        marks.append(some.rename(columns={column: "distance"}))
    gone = comparison[~there].assign(kind="unit", quantity=MISSING, distance=1.0)
    more = excess.drop(columns="found_unit").assign(kind="excess", quantity=MORE)
    more = more.rename(columns={"nearest_unit": "unit", "distance_in": "distance"})
    given = [each.reindex(columns=COLUMNS) for each in (*marks, gone, more) if not each.empty]
    return pd.concat(given, ignore_index=True)


def draw(drawn: pd.DataFrame) -> Figure:
    """Cosine distances, logarithmic; left of the line the teacher's units, right of it the excess.

    A unit in excess is shown at its distance to the nearest unit of the teacher.

    Args:
        drawn: by `table`.
    """
    layers = sorted(set(drawn["layer"]))
    with style.look():
        figure = Figure(figsize=(6.4, 2.5 * len(layers) + 0.9), layout="constrained")
        panels = figure.subplots(len(layers), squeeze=False)[:, 0]
        for axes, layer in zip(panels, layers, strict=True):
            draw_layer(axes, drawn[drawn["layer"] == layer])
            axes.set_title(f"hidden layer {layer}")
        panels[-1].set_xlabel("units of the teacher, then those in excess")
        figure.supylabel("cosine distance")
        names = [name for name in LOOKS if (drawn["quantity"] == name).any()]
        handles = {h.get_label(): h for axes in panels for h in axes.get_lines()}
        figure.legend(handles=[handles[name] for name in names], loc="outside upper left", ncols=4)
    return figure


def draw_layer(axes: Axes, marks: pd.DataFrame) -> None:
    """The marks of one layer."""
    units = marks[marks["kind"] == "unit"]
    width = units["unit"].max() + 1
    for name, (marker, colour) in LOOKS.items():
        some = marks[marks["quantity"] == name]
        if some.empty:
            continue
        places = width + 0.5 + np.arange(len(some)) if name == MORE else some["unit"]
        values = some["distance"].clip(lower=LOWEST)
        axes.plot(places, values, marker, color=colour, label=name, markersize=4, linestyle="")
    if (marks["kind"] == "excess").any():
        axes.axvline(width - 0.25, color="black", linewidth=0.8)
    axes.set_yscale("log")
    axes.set_xticks(list(style.spread(int(width), 20)))
    axes.set_ylim(top=max(2.0, 2 * marks["distance"].max()))
