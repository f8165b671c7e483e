"""Functions of one variable as networks fit them, a panel for every parametrization."""

import pandas as pd
from matplotlib.figure import Figure

from isthmus.plots import rows, style

COLUMNS = ["parametrization", "seed", "x", "target", "value"]


def table(functions: pd.DataFrame) -> pd.DataFrame:
    """What the figure shows: the values of every network, and what was to be fitted.

    Args:
        functions: rows of function.csv of several networks, with what each was given.

    Raises:
        ValueError: the table is another one, or empty.
    """
    rows.check_columns(functions, COLUMNS)
    order = functions[COLUMNS].sort_values(["seed", "x"])
    return order.sort_values("parametrization", kind="stable").reset_index(drop=True)


def draw(drawn: pd.DataFrame) -> Figure:
    """A line a seed, the same colour in all panels: the same Gaussians; grey is the target.

    Args:
        drawn: by `table`.
    """
    names, seeds = list(dict.fromkeys(drawn["parametrization"])), sorted(drawn["seed"].unique())
    colours = style.sequential(len(seeds))
    with style.look():
        figure, panels = style.grid(len(names))
        for axes, name in zip(panels, names, strict=True):
            here = drawn[drawn["parametrization"] == name]
            target = here[here["seed"] == here["seed"].iloc[0]]
            axes.plot(target["x"], target["target"], color="0.7", linewidth=3, label="target")
            for seed, colour in zip(seeds, colours, strict=True):
                points = here[here["seed"] == seed]
                axes.plot(points["x"], points["value"], color=colour, label=f"seed {seed}")
            axes.set_title(str(name))
            axes.set_xlabel("x")
        panels[0].set_ylabel("f(x)")
        style.legend(figure, panels, title="")
    return figure
