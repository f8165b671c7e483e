"""The losses of all students while they were trained."""

import pandas as pd
from matplotlib.figure import Figure

from isthmus.plots import rows, style

COLUMNS = ["epoch", "student", "loss", "lr"]
NAMED_MOST = 12  # students that a legend has room for


def table(losses: pd.DataFrame) -> pd.DataFrame:
    """What the figure shows: a row a point.

    Args:
        losses: as `extract.py` writes them.

    Raises:
        ValueError: there are none, or the table is another one.
    """
    rows.check_columns(losses, COLUMNS)
    if losses.empty:
        raise ValueError("nothing to draw: the table of losses has no rows")
    return losses[COLUMNS]


def draw(drawn: pd.DataFrame) -> Figure:
    """A curve a student, both axes logarithmic; a dot where it was done.

    Args:
        drawn: by `table`.
    """
    students = sorted(set(drawn["student"]))
    with style.look():
        figure = Figure(figsize=(5.4, 3.6), layout="constrained")
        axes = figure.subplots()
        for colour, student in zip(style.sequential(len(students)), students, strict=True):
            curve = drawn[drawn["student"] == student]
            axes.plot(curve["epoch"], curve["loss"], color=colour, label=f"{student}")
            last = curve.iloc[-1]
            axes.plot(last["epoch"], last["loss"], "o", color=colour, markersize=3)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("epoch")
        axes.set_ylabel("mean squared error on the queries")
        lines = axes.get_lines()[::2]
        named = [lines[place] for place in style.spread(len(lines), NAMED_MOST)]
        figure.legend(handles=named, title="student", loc="outside right upper")
    return figure
