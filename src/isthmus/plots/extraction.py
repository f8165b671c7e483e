"""Figures of `extract.py`: losses, clusters, units."""

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from isthmus.plots import frames, style
from isthmus.plots.files import Drawing
from isthmus.plots.panels import add_legend, make_panel, make_panels

LOSSES = ["epoch", "student", "loss", "lr"]
LOWEST = 1e-7  # distance or height that is drawn; below it there is rounding only
NAMED_MOST = 12  # students that a legend has room for


def make_losses(losses: pd.DataFrame) -> Iterator[Drawing]:
    """Losses of students over epochs."""
    shown = frames.select_columns(losses, LOSSES, "losses")
    yield Drawing("losses", shown, draw_student_losses)


def draw_student_losses(drawn: pd.DataFrame) -> Figure:
    """Draw one curve per student, both axes logarithmic; a dot at its end."""
    students = sorted(set(drawn["student"]))
    figure, axes = make_panel(5.4, 3.6)
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


ANGLES = ["layer", "cluster", "size", "num_students", "angle", "beta", "kept"]
LOWEST_ANGLE = 1e-8  # radians that are drawn
KEPT, NOT_KEPT = "C0", "C3"


def make_angles(clusters: pd.DataFrame) -> Iterator[Drawing]:
    """Angles within clusters."""
    shown = frames.select_columns(clusters, ANGLES, "clusters")
    yield Drawing("angles", shown, draw_cluster_angles)


def draw_cluster_angles(drawn: pd.DataFrame) -> Figure:
    """Draw median angles in increasing order, with the largest allowed one, beta."""
    size = (5.4, 2.3, 0.9)
    figure, panels = draw_layers(drawn, draw_angles, size, "median angle within (radians)")
    panels[-1].set_xlabel("large clusters")
    add_legend(figure, panels[0].get_legend_handles_labels()[0], columns=3)
    return figure


def draw_angles(axes: Axes, clusters: pd.DataFrame) -> None:
    """Draw the angles of one layer."""
    bars = clusters.sort_values(["kept", "angle"], ascending=[False, True])
    positions = np.arange(len(bars))
    for kept, colour, label in ((True, KEPT, "kept"), (False, NOT_KEPT, "not kept")):
        chosen = (bars["kept"] == kept).to_numpy()
        heights = bars["angle"][chosen].clip(lower=LOWEST_ANGLE)
        axes.plot(positions[chosen], heights, "o", color=colour, label=label, markersize=4)
    axes.axhline(bars["beta"].iloc[0], color="black", linestyle="--", label="beta")
    axes.set_yscale("log")
    axes.set_xticks([])
    axes.set_xlim(-0.6, max(len(bars) - 0.4, 0.6))


COUNTS = ["layer", "height", "large", "cut", "plateau_start", "plateau_end", "limit"]


def make_cluster_counts(counts: pd.DataFrame) -> Iterator[Drawing]:
    """Numbers of clusters against the height of the cut."""
    shown = frames.select_columns(counts, COUNTS, "counts")
    yield Drawing("cluster_counts", shown, draw_cluster_counts)


def draw_cluster_counts(drawn: pd.DataFrame) -> Figure:
    """Draw steps over the logarithm of height, with the chosen plateau and the cut in it."""
    figure, panels = draw_layers(drawn, draw_counts, (5.4, 2.5, 0.8), "large clusters")
    panels[-1].set_xlabel("distance at which the tree is cut")
    add_legend(figure, panels[0].get_legend_handles_labels()[0], columns=3)
    return figure


def draw_counts(axes: Axes, counts: pd.DataFrame) -> None:
    """Draw the counts of one layer."""
    first = counts.iloc[0]
    heights = counts["height"].clip(lower=LOWEST)
    end = max(heights.max(), first["limit"]) * 1.2
    steps = pd.concat([heights, pd.Series([end])])
    axes.plot(steps, [*counts["large"], counts["large"].iloc[-1]], drawstyle="steps-post")
    axes.axvspan(
        max(first["plateau_start"], LOWEST), first["plateau_end"],
        color="C0", alpha=0.15,
        linewidth=0, label="plateau",
    )  # fmt: skip
    axes.axvline(first["cut"], color="black", linestyle="--", label="cut")
    axes.axvline(first["limit"], color="C3", linestyle=":", label="angle beta")
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))


TREE = ["layer", "left", "left_height", "right", "right_height", "height", "cluster", "cut"]
TREE += ["num_shown", "num_units"]
NO_CLUSTER = "0.65"


def make_dendrogram(merges: pd.DataFrame) -> Iterator[Drawing]:
    """Trees of clusters."""
    shown = frames.select_columns(merges, TREE, "merges")
    yield Drawing("dendrogram", shown, draw_cluster_tree)


def draw_cluster_tree(drawn: pd.DataFrame) -> Figure:
    """Draw dendrograms with logarithmic heights; one colour per cluster, grey for none."""
    return draw_layers(drawn, draw_tree, (7, 2.9, 0.4), "distance at which units join")[0]


def draw_tree(axes: Axes, merges: pd.DataFrame) -> None:
    """Draw the tree of one layer."""
    first = merges.iloc[0]
    lowest = max(LOWEST, merges["height"][merges["height"] > 0].min() / 2)
    corners = np.empty((len(merges), 4, 2))  # up the left, across, down the right
    for corner, (place, height) in enumerate(
        (
            ("left", "left_height"),
            ("left", "height"),
            ("right", "height"),
            ("right", "right_height"),
        )
    ):
        corners[:, corner, 0] = merges[place]
        corners[:, corner, 1] = merges[height].clip(lower=lowest)
    names = sorted(set(merges["cluster"]) - {-1})
    colours = dict(zip(names, style.distinct(len(names)), strict=True))
    looks = [colours.get(cluster, NO_CLUSTER) for cluster in merges["cluster"]]
    axes.add_collection(LineCollection(list(corners), colors=looks, linewidths=0.8))
    axes.axhline(first["cut"], color="black", linestyle="--", label="cut")
    axes.set_yscale("log")
    axes.set_xlim(-1, first["num_shown"])
    axes.set_ylim(lowest, 1.3 * merges["height"].max())
    axes.set_xticks([])
    axes.grid(axis="x", visible=False)
    axes.set_xlabel(subsample_note(first["num_shown"], first["num_units"]))
    axes.legend(loc="lower right")


def subsample_note(num_shown: int, num_units: int) -> str:
    """Axis label: how many of all units are shown."""
    if num_shown == num_units:
        return f"units of all students ({num_units:.0f})"
    return f"units of all students ({num_shown:.0f} of {num_units:.0f})"


MATRIX = ["layer", "row", "column", "distance", "row_cluster", "num_shown", "num_units"]


def make_distances(matrix: pd.DataFrame) -> Iterator[Drawing]:
    """Distances between units."""
    shown = frames.select_columns(matrix, MATRIX, "distances")
    yield Drawing("distances", shown, draw_unit_distances)


def draw_unit_distances(drawn: pd.DataFrame) -> Figure:
    """Draw logarithmic heat maps: clusters are dark squares on the diagonal."""
    positive = drawn["distance"][drawn["distance"] > LOWEST]
    lowest = positive.min() if len(positive) else LOWEST
    norm = LogNorm(lowest, max(drawn["distance"].max(), 2 * lowest))

    def draw_matrix(axes: Axes, cells: pd.DataFrame) -> None:
        square = cells.pivot(index="row", columns="column", values="distance").to_numpy()
        axes.imshow(np.maximum(square, lowest), norm=norm, cmap="viridis")
        axes.grid(False)
        axes.set_xticks([])
        axes.set_yticks([])
        first = cells.iloc[0]
        axes.set_xlabel(subsample_note(first["num_shown"], first["num_units"]))

    figure, panels = draw_layers(drawn, draw_matrix, (4.4, 3.6, 0.0))
    figure.colorbar(panels[-1].images[0], ax=panels, label="distance", shrink=0.8)
    return figure


UNITS = ["layer", "unit", "found_unit", "distance_in", "distance_out"]
EXCESS = ["layer", "found_unit", "nearest_unit", "distance_in", "length_out"]
MARKS = ["layer", "kind", "unit", "quantity", "distance", "length_out"]
LOWEST_COSINE = 1e-16
INTO, OUT, MISSING, MORE = "what goes in", "what goes out", "missing", "in excess"
LOOKS = {INTO: ("o", "C0"), OUT: ("s", "C1"), MISSING: ("x", "C3"), MORE: ("^", "0.4")}


def teacher_distances_table(comparison: pd.DataFrame, excess: pd.DataFrame) -> pd.DataFrame:
    """Table of distances to the teacher's units: one row per mark.

    Args:
        comparison: as `extract.py` writes it.
        excess: as `extract.py` writes it.

    Raises:
        ValueError: there is nothing to draw, or a table has other columns.
    """
    frames.check_columns(comparison, UNITS)
    frames.check_columns(excess, EXCESS)
    if comparison.empty:
        raise ValueError("nothing to draw: the table of the comparison has no rows")
    is_found = comparison["found_unit"].notna()
    marks = []
    for quantity, column in ((INTO, "distance_in"), (OUT, "distance_out")):
        units = comparison[is_found].assign(kind="unit", quantity=quantity)
        marks.append(units.rename(columns={column: "distance"}))
    missing = comparison[~is_found].assign(kind="unit", quantity=MISSING, distance=1.0)
    extra = excess.drop(columns="found_unit").assign(kind="excess", quantity=MORE)
    extra = extra.rename(columns={"nearest_unit": "unit", "distance_in": "distance"})
    parts = [each.reindex(columns=MARKS) for each in (*marks, missing, extra) if not each.empty]
    return pd.concat(parts, ignore_index=True)


def make_teacher(comparison: pd.DataFrame, excess: pd.DataFrame) -> Iterator[Drawing]:
    """Distances to the units of the teacher."""
    shown = teacher_distances_table(comparison, excess)
    yield Drawing("teacher", shown, draw_teacher_distances)


def draw_teacher_distances(drawn: pd.DataFrame) -> Figure:
    """Draw logarithmic distances; the teacher's units left of a line, excess right of it.

    A unit in excess is shown at its distance to the nearest unit of the teacher.
    """
    figure, panels = draw_layers(drawn, draw_marks, (6.4, 2.5, 0.9), "distance")
    panels[-1].set_xlabel("units of the teacher, then those in excess")
    names = [name for name in LOOKS if (drawn["quantity"] == name).any()]
    handles = {h.get_label(): h for axes in panels for h in axes.get_lines()}
    add_legend(figure, [handles[name] for name in names], columns=4)
    return figure


def draw_marks(axes: Axes, marks: pd.DataFrame) -> None:
    """Draw the marks of one layer."""
    units = marks[marks["kind"] == "unit"]
    width = units["unit"].max() + 1
    for name, (marker, colour) in LOOKS.items():
        some = marks[marks["quantity"] == name]
        if some.empty:
            continue
        positions = width + 0.5 + np.arange(len(some)) if name == MORE else some["unit"]
        values = some["distance"].clip(lower=LOWEST_COSINE)
        axes.plot(positions, values, marker, color=colour, label=name, markersize=4, linestyle="")
    if (marks["kind"] == "excess").any():
        axes.axvline(width - 0.25, color="black", linewidth=0.8)
    axes.set_yscale("log")
    axes.set_xticks(list(style.spread(int(width), 20)))
    axes.set_ylim(top=max(2.0, 2 * marks["distance"].max()))


def draw_layers(
    drawn: pd.DataFrame,
    draw: Callable[[Axes, pd.DataFrame], None],
    size: tuple[float, float, float],
    label: str = "",
) -> tuple[Figure, list[Axes]]:
    """Draw one panel per layer, below each other.

    Args:
        drawn: the table of a figure.
        draw: draws the rows of one layer.
        size: width of the figure, height of a panel, and height of what is around, in inches.
        label: of the y axes.

    Returns:
        The figure and its panels.
    """
    layers = sorted(set(drawn["layer"]))
    width, height, around = size
    total = (width, height * len(layers) + around)
    figure, grid = make_panels(len(layers), 1, total, sharex=False, labels=("", label))
    panels = grid[:, 0].tolist()
    for axes, layer in zip(panels, layers, strict=True):
        draw(axes, drawn[drawn["layer"] == layer])
        axes.set_title(f"hidden layer {layer:.0f}")
    return figure, panels
