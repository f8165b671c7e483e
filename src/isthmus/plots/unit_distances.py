"""Distances between the units of all students, in the order of their tree, a panel a layer."""

import numpy as np
import pandas as pd
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from isthmus.plots import rows, style
from isthmus.plots.cluster_tree import shown

COLUMNS = ["layer", "row", "column", "distance", "row_cluster", "num_shown", "num_units"]
LOWEST = 1e-7


def table(matrix: pd.DataFrame) -> pd.DataFrame:
    """What the figure shows: a row a cell.

    Args:
        matrix: as `extract.py` writes it.

    Raises:
        ValueError: there is nothing to draw, or the table is another one.
    """
    rows.check_columns(matrix, COLUMNS)
    if matrix.empty:
        raise ValueError("nothing to draw: the table of distances has no rows")
    return matrix[COLUMNS]


def draw(drawn: pd.DataFrame) -> Figure:
    """Heat maps, logarithmic: clusters are dark squares on the diagonal.

    Args:
        drawn: by `table`.
    """
    layers = sorted(set(drawn["layer"]))
    positive = drawn["distance"][drawn["distance"] > LOWEST]
    lowest = positive.min() if len(positive) else LOWEST
    norm = LogNorm(lowest, max(drawn["distance"].max(), 2 * lowest))
    with style.look():
        figure = Figure(figsize=(4.4, 3.6 * len(layers)), layout="constrained")
        panels = figure.subplots(len(layers), squeeze=False)[:, 0]
        for axes, layer in zip(panels, layers, strict=True):
            cells = drawn[drawn["layer"] == layer]
            square = cells.pivot(index="row", columns="column", values="distance").to_numpy()
            image = axes.imshow(np.maximum(square, lowest), norm=norm, cmap="viridis")
            axes.grid(False)
            axes.set_xticks([])
            axes.set_yticks([])
            axes.set_title(f"hidden layer {layer}")
            first = cells.iloc[0]
            axes.set_xlabel(shown(first["num_shown"], first["num_units"]))
        figure.colorbar(image, ax=list(panels), label="distance", shrink=0.8)
    return figure
