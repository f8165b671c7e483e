"""Figure of loss and accuracy on the plane through three networks, with projected networks."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colorbar import Colorbar
from matplotlib.colors import BoundaryNorm
from matplotlib.contour import QuadContourSet
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from isthmus.plots import frames, style
from isthmus.plots.files import Drawing
from isthmus.plots.panels import add_legend, make_panels

GRID = ["x", "y", "split", "loss", "accuracy"]
SPANNING = ["A", "B", "C"]
COLUMNS = ["network", "x", "y", "distance", "split", "loss", "accuracy"]
COLOURS = {"loss": "viridis_r", "accuracy": "viridis"}  # light is good, of both
LEVELS = 14  # of contours, approximately
SCALE_LABELS = 9
TWO_COLUMNS = 44  # letters of a name, up to which a legend has two columns
LOW, HIGHEST = 0.45, 4.0  # height of a panel: ratio to its width, and inches
SPAN = 5.0  # ratio of the largest to the smallest loss, beyond which levels are logarithmic
NICE = [(1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7), (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8)]
AT: dict[bool, dict[str, Any]] = {  # whether it spans the plane
    True: {"marker": "o", "s": 46, "edgecolors": "black", "linewidths": 1.3},
    False: {"marker": "D", "s": 34, "edgecolors": "black", "linewidths": 1.0},
}
OUTLINE = withStroke(linewidth=2.2, foreground="white")  # text is read on any colour


def plane_table(plane: pd.DataFrame, networks: pd.DataFrame) -> pd.DataFrame:
    """Table of the figure: the points of the finest grid of each split, then the networks.

    Args:
        plane: as `interpolate.py` writes it: one whole grid or several for every split.
        networks: as `interpolate.py` writes it: A, B and C, and projected ones.

    Returns:
        One row per point; `network` is empty for points of the grid. Coordinates and distances from
        the plane are L2 distances of weights.

    Raises:
        ValueError: a grid is incomplete or has no area, a network that spans the plane is missing,
            or a table has other columns.
    """
    frames.check_columns(plane, GRID)
    frames.check_columns(networks, ["name", *COLUMNS[1:]])
    plane = _finest(plane)
    if "bn" in networks:
        networks = networks[networks["bn"] != frames.AS_TRAINED]  # as no point of the grid is
    if plane.empty:
        raise ValueError("nothing to draw: the table of the plane has no rows at all")
    missing = [name for name in SPANNING if name not in set(networks["name"])]
    if missing:
        present = ", ".join(networks["name"].unique()) or "none"
        raise ValueError(f"the plane has no network {', '.join(missing)}; it has {present}")
    for split, points in plane.groupby("split"):
        width, height = points["x"].nunique(), points["y"].nunique()
        num_points = len(points[["x", "y"]].drop_duplicates())
        if not (width >= 2 and height >= 2 and len(points) == num_points == width * height):
            raise ValueError(
                f"the plane must be a whole grid of at least 2 x 2 points, got {len(points)} "
                f"points of split {split} at {width} x and {height} y"
            )
    grid = plane.sort_values(["split", "y", "x"]).assign(network="", distance=0.0)
    others = networks.rename(columns={"name": "network"})
    return pd.concat([grid[COLUMNS], others[COLUMNS]], ignore_index=True)


def _finest(plane: pd.DataFrame) -> pd.DataFrame:
    """The rows of the finest grid of each split; a table of an older version has only one."""
    if "points" not in plane:
        return plane
    return plane[plane["points"] == plane.groupby("split")["points"].transform("max")]


def make_plane(plane: pd.DataFrame, networks: pd.DataFrame) -> Iterator[Drawing]:
    """The figure of a plane."""
    yield Drawing("plane", plane_table(plane, networks), draw_plane)


def draw_plane(drawn: pd.DataFrame) -> Figure:
    """Draw loss and accuracy as filled contours, split by split; light is good.

    The mark of a network has the colour of its own value, which for a projected network differs
    from the plane's.
    """
    on_grid = drawn["network"].fillna("") == ""
    grid, networks = drawn[on_grid], number_networks(drawn[~on_grid])
    splits = frames.list_splits(grid)
    figure, panels, height = subplots(grid, len(splits), networks["network"].nunique())
    for place, axes in enumerate(panels.ravel()):
        split, metric = splits[place // 2], ("loss", "accuracy")[place % 2]
        colours = Colours.from_values(drawn.loc[drawn["split"] == split, metric], metric)
        contours = draw_contours(axes, grid[grid["split"] == split], metric, colours)
        draw_networks(axes, networks[networks["split"] == split], metric, colours)
        scale = add_scale(axes, contours, colours.edges, height)
        scale.set_label(f"{split} {metric}\n({style.UNITS[metric]})")
    for axes in panels[:, 0]:
        axes.set_ylabel("L2 distance\nfrom line A-B")
    for axes in panels[-1]:
        axes.set_xlabel("L2 distance along A-B")
    name_networks(figure, networks.drop_duplicates("network"))
    return figure


def subplots(
    grid: pd.DataFrame, num_splits: int, num_networks: int
) -> tuple[Figure, np.ndarray, float]:
    """A figure with panels of the shape of the grid; wide ones are stacked.

    Returns:
        The figure; its panels (rows, columns), loss before accuracy and split by split; and the
        height of one in inches.
    """
    aspect = float(np.ptp(grid["y"]) / np.ptp(grid["x"]))
    columns = 1 if aspect < LOW else 2
    width = min(6.6 / columns, HIGHEST / aspect)
    num_rows = 2 * num_splits // columns
    size = (
        max(columns * (width + 1.2), 6.4),
        num_rows * (max(width * aspect, 0.9) + 0.2) + 0.6 + 0.12 * num_networks,
    )
    figure, panels = make_panels(num_rows, columns, size, sharey=True, layout="compressed")
    return figure, panels, width * aspect


@dataclass(frozen=True)
class Colours:
    """The levels of one panel, and the colours between them."""

    edges: np.ndarray
    look: dict[str, Any]  # cmap and norm

    @classmethod
    def from_values(cls, values: pd.Series, metric: str) -> "Colours":
        """Levels and colours for all values of one split: of the grid and of the networks."""
        finite = values[np.isfinite(values)].to_numpy()
        edges = levels(finite, metric)
        cmap = matplotlib.colormaps[COLOURS[metric]]
        below = len(finite) > 0 and finite.min() < edges[0]
        norm = BoundaryNorm(edges, cmap.N, extend="min" if below else "neither")
        return cls(edges, {"cmap": cmap, "norm": norm})


def draw_contours(
    axes: Axes, points: pd.DataFrame, metric: str, colours: Colours
) -> QuadContourSet:
    """Draw filled contours of one split and one metric; grey where there is no number."""
    values = points.pivot(index="y", columns="x", values=metric)
    masked = np.ma.masked_invalid(values.to_numpy(dtype=float))
    look = {"levels": colours.edges, "extend": colours.look["norm"].extend, **colours.look}
    contours = axes.contourf(values.columns, values.index, masked, **look)
    contours.set_edgecolor("face")  # else a PDF shows seams
    axes.set_facecolor("0.75")
    axes.set_aspect("equal")
    axes.grid(False)
    return contours


def add_scale(axes: Axes, contours: QuadContourSet, edges: np.ndarray, height: float) -> Colorbar:
    """Add a colour scale as high as the panel, which is `height` inches."""
    inset = axes.inset_axes((1.03, 0, 0.05, 1))
    scale = axes.figure.colorbar(contours, cax=inset, format="{x:.3g}")
    positions = style.spread(len(edges), min(max(int(height / 0.18), 2), SCALE_LABELS))
    scale.set_ticks([edges[position] for position in positions])
    scale.minorticks_off()
    return scale


def levels(values: np.ndarray, metric: str) -> np.ndarray:
    """Round levels of filled contours: logarithmic for losses of many sizes.

    Args:
        values: (points,), finite.
        metric: loss or accuracy.

    Returns:
        (levels,), increasing, at least two, from about the smallest to about the largest value.
    """
    if not len(values):
        return np.array([0.0, 1.0])
    low, high = float(values.min()), float(values.max())
    positive = values[values > 0]
    if metric == "loss" and len(positive) and high > SPAN * positive.min():
        return ratios(max(float(positive.min()), high * 1e-6), high)
    if high - low < 1e-9 * max(abs(high), 1):  # constant
        low, high = low - 0.05 * max(abs(low), 1e-3), high + 0.05 * max(abs(high), 1e-3)
    return np.asarray(MaxNLocator(LEVELS, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high))


def ratios(low: float, high: float) -> np.ndarray:
    """Round numbers from `low` to `high` that are about evenly spaced logarithmically."""
    powers = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    for digits in reversed(NICE):
        numbers = np.array([digit * 10.0**power for power in powers for digit in digits])
        first = max(int(np.searchsorted(numbers, low, side="right")) - 1, 0)
        last = int(np.searchsorted(numbers, high))
        chosen = numbers[first : last + 1]
        if len(chosen) <= LEVELS + 2:
            break
    return chosen


def draw_networks(axes: Axes, networks: pd.DataFrame, metric: str, colours: Colours) -> None:
    """Draw the networks: those that span the plane by letter, others by number."""
    spanning = networks["network"].isin(SPANNING)
    middle_x, middle_y = networks.loc[spanning, ["x", "y"]].mean()
    columns = ["network", "x", "y", metric]
    for name, x, y, value in networks[columns].itertuples(index=False, name=None):
        spans = name in SPANNING
        look = {**colours.look, **AT[spans], "zorder": 3}
        axes.scatter(x, y, c=[value], **look, plotnonfinite=True)
        axes.annotate(
            name if spans else name.split(":")[0],
            (x, y),
            (8 if x >= middle_x else -8, 8 if y >= middle_y else -8),
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize="large" if spans else "medium",
            fontweight="bold",
            color="black",
            path_effects=[OUTLINE],
        )


def number_networks(networks: pd.DataFrame) -> pd.DataFrame:
    """Add a number to the names of projected networks: "1: step_500"."""
    networks_at = list(zip(networks["network"], networks["x"], networks["y"], strict=True))
    projected = [place for place in dict.fromkeys(networks_at) if place[0] not in SPANNING]
    numbers = {place: f"{number}: {place[0]}" for number, place in enumerate(projected, start=1)}
    return networks.assign(network=[numbers.get(place, place[0]) for place in networks_at])


def name_networks(figure: Figure, networks: pd.DataFrame) -> None:
    """Add a legend above the panels: the marks, and the distance of each network from the plane."""
    look: dict[str, Any] = {"linestyle": "None", "color": "white", "markeredgecolor": "black"}
    handles = [Line2D([], [], **look, marker="o", markersize=6, label="A, B, C span the plane")]
    projected = networks[~networks["network"].isin(SPANNING)]
    for name, distance in zip(projected["network"], projected["distance"], strict=True):
        label = f"{name}, {distance:.3g} from the plane"
        handles.append(Line2D([], [], **look, marker="D", markersize=6, label=label))
    heading = "marks have the colour of the network's own value" if len(projected) else None
    longest = max(len(str(handle.get_label())) for handle in handles)
    add_legend(figure, handles, heading, columns=2 if longest < TWO_COLUMNS else 1)
