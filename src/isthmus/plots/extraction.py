"""Figures of `extract.py`: losses, clusters, units."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from isthmus.plots import files, frames, style
from isthmus.plots.files import Drawing

STUDENT_LOSSES_COLUMNS = ["epoch", "student", "loss", "lr"]
NAMED_MOST = 12  # students that a legend has room for


def student_losses_table(losses: pd.DataFrame) -> pd.DataFrame:
    """Table of the losses of students: one row per point.

    Args:
        losses: as `extract.py` writes them.

    Raises:
        ValueError: there are none, or the table has other columns.
    """
    frames.check_columns(losses, STUDENT_LOSSES_COLUMNS)
    if losses.empty:
        raise ValueError("nothing to draw: the table of losses has no rows")
    return losses[STUDENT_LOSSES_COLUMNS]


def draw_student_losses(drawn: pd.DataFrame) -> Figure:
    """Draw one curve per student, both axes logarithmic; a dot at its end.

    Args:
        drawn: the table of this figure.
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


CLUSTER_ANGLES_COLUMNS = ["layer", "cluster", "size", "num_students", "angle", "beta", "kept"]
LOWEST = 1e-8  # radians that are drawn
KEPT, NOT_KEPT = "C0", "C3"


def cluster_angles_table(clusters: pd.DataFrame) -> pd.DataFrame:
    """Table of the angles in clusters: one row per large cluster.

    Args:
        clusters: as `extract.py` writes them.

    Raises:
        ValueError: there are none, or the table has other columns.
    """
    frames.check_columns(clusters, CLUSTER_ANGLES_COLUMNS)
    if clusters.empty:
        raise ValueError("nothing to draw: the table of clusters has no rows")
    return clusters[CLUSTER_ANGLES_COLUMNS]


def draw_cluster_angles(drawn: pd.DataFrame) -> Figure:
    """Draw median angles in increasing order, with the largest allowed one, beta.

    Args:
        drawn: the table of this figure.
    """
    layers = sorted(set(drawn["layer"]))
    with style.look():
        figure = Figure(figsize=(5.4, 2.3 * len(layers) + 0.9), layout="constrained")
        panels = figure.subplots(len(layers), squeeze=False)[:, 0]
        for axes, layer in zip(panels, layers, strict=True):
            bars = drawn[drawn["layer"] == layer].sort_values(
                ["kept", "angle"], ascending=[False, True]
            )
            positions = np.arange(len(bars))
            for kept, colour, label in ((True, KEPT, "kept"), (False, NOT_KEPT, "not kept")):
                chosen = (bars["kept"] == kept).to_numpy()
                heights = bars["angle"][chosen].clip(lower=LOWEST)
                axes.plot(positions[chosen], heights, "o", color=colour, label=label, markersize=4)
            axes.axhline(bars["beta"].iloc[0], color="black", linestyle="--", label="beta")
            axes.set_yscale("log")
            axes.set_xticks([])
            axes.set_xlim(-0.6, max(len(bars) - 0.4, 0.6))
            axes.set_title(f"hidden layer {layer}")
        panels[-1].set_xlabel("large clusters")
        figure.supylabel("median angle within (radians)")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper left", ncols=3)
    return figure


CLUSTER_COUNTS_COLUMNS = [
    "layer",
    "height",
    "large",
    "cut",
    "plateau_start",
    "plateau_end",
    "limit",
]
CLUSTER_COUNTS_LOWEST = 1e-7  # height that is drawn; below it there is rounding only


def cluster_counts_table(counts: pd.DataFrame) -> pd.DataFrame:
    """Table of the numbers of clusters: one row per height at which the number changes.

    Args:
        counts: as `extract.py` writes them.

    Raises:
        ValueError: there are none, or the table has other columns.
    """
    frames.check_columns(counts, CLUSTER_COUNTS_COLUMNS)
    if counts.empty:
        raise ValueError("nothing to draw: the table of counts has no rows")
    return counts[CLUSTER_COUNTS_COLUMNS]


def draw_cluster_counts(drawn: pd.DataFrame) -> Figure:
    """Draw steps over the logarithm of height, with the chosen plateau and the cut in it.

    Args:
        drawn: the table of this figure.
    """
    layers = sorted(set(drawn["layer"]))
    with style.look():
        figure = Figure(figsize=(5.4, 2.5 * len(layers) + 0.8), layout="constrained")
        panels = figure.subplots(len(layers), squeeze=False)[:, 0]
        for axes, layer in zip(panels, layers, strict=True):
            draw_counts(axes, drawn[drawn["layer"] == layer])
        panels[-1].set_xlabel("distance at which the tree is cut")
        figure.supylabel("large clusters")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper left", ncols=3)
    return figure


def draw_counts(axes: Axes, counts: pd.DataFrame) -> None:
    """Draw the counts of one layer."""
    first = counts.iloc[0]
    heights = counts["height"].clip(lower=CLUSTER_COUNTS_LOWEST)
    end = max(heights.max(), first["limit"]) * 1.2
    steps = pd.concat([heights, pd.Series([end])])
    axes.plot(steps, [*counts["large"], counts["large"].iloc[-1]], drawstyle="steps-post")
    axes.axvspan(
        max(first["plateau_start"], CLUSTER_COUNTS_LOWEST), first["plateau_end"],
        color="C0", alpha=0.15,
        linewidth=0, label="plateau",
    )  # fmt: skip
    axes.axvline(first["cut"], color="black", linestyle="--", label="cut")
    axes.axvline(first["limit"], color="C3", linestyle=":", label="angle beta")
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_title(f"hidden layer {first['layer']:.0f}")


CLUSTER_TREE_COLUMNS = [
    "layer",
    "left",
    "left_height",
    "right",
    "right_height",
    "height",
    "cluster",
    "cut",
]
CLUSTER_TREE_COLUMNS += ["num_shown", "num_units"]
NO_CLUSTER = "0.65"
CLUSTER_TREE_LOWEST = 1e-7  # height that is drawn; below it there is rounding only


def cluster_tree_table(merges: pd.DataFrame) -> pd.DataFrame:
    """Table of the cluster tree: one row per merge.

    Args:
        merges: as `extract.py` writes them.

    Raises:
        ValueError: there are none, or the table has other columns.
    """
    frames.check_columns(merges, CLUSTER_TREE_COLUMNS)
    if merges.empty:
        raise ValueError("nothing to draw: the table of merges has no rows")
    return merges[CLUSTER_TREE_COLUMNS]


def draw_cluster_tree(drawn: pd.DataFrame) -> Figure:
    """Draw dendrograms with logarithmic heights; one colour per cluster, grey for none.

    Args:
        drawn: the table of this figure.
    """
    layers = sorted(set(drawn["layer"]))
    with style.look():
        figure = Figure(figsize=(7, 2.9 * len(layers) + 0.4), layout="constrained")
        panels = figure.subplots(len(layers), squeeze=False)[:, 0]
        for axes, layer in zip(panels, layers, strict=True):
            draw_tree(axes, drawn[drawn["layer"] == layer])
        figure.supylabel("distance at which units join")
    return figure


def draw_tree(axes: Axes, merges: pd.DataFrame) -> None:
    """Draw the tree of one layer."""
    first = merges.iloc[0]
    lowest = max(CLUSTER_TREE_LOWEST, merges["height"][merges["height"] > 0].min() / 2)
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
    axes.set_title(f"hidden layer {first['layer']:.0f}")
    axes.set_xlabel(subsample_note(first["num_shown"], first["num_units"]))
    axes.legend(loc="lower right")


def subsample_note(num_shown: int, num_units: int) -> str:
    """Axis label: how many of all units are shown."""
    if num_shown == num_units:
        return f"units of all students ({num_units:.0f})"
    return f"units of all students ({num_shown:.0f} of {num_units:.0f})"


UNIT_DISTANCES_COLUMNS = [
    "layer",
    "row",
    "column",
    "distance",
    "row_cluster",
    "num_shown",
    "num_units",
]
UNIT_DISTANCES_LOWEST = 1e-7


def unit_distances_table(matrix: pd.DataFrame) -> pd.DataFrame:
    """Table of distances between units: one row per cell.

    Args:
        matrix: as `extract.py` writes it.

    Raises:
        ValueError: there is nothing to draw, or the table has other columns.
    """
    frames.check_columns(matrix, UNIT_DISTANCES_COLUMNS)
    if matrix.empty:
        raise ValueError("nothing to draw: the table of distances has no rows")
    return matrix[UNIT_DISTANCES_COLUMNS]


def draw_unit_distances(drawn: pd.DataFrame) -> Figure:
    """Draw logarithmic heat maps: clusters are dark squares on the diagonal.

    Args:
        drawn: the table of this figure.
    """
    layers = sorted(set(drawn["layer"]))
    positive = drawn["distance"][drawn["distance"] > UNIT_DISTANCES_LOWEST]
    lowest = positive.min() if len(positive) else UNIT_DISTANCES_LOWEST
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
            axes.set_xlabel(subsample_note(first["num_shown"], first["num_units"]))
        figure.colorbar(image, ax=list(panels), label="distance", shrink=0.8)
    return figure


UNITS = ["layer", "unit", "found_unit", "distance_in", "distance_out"]
EXCESS = ["layer", "found_unit", "nearest_unit", "distance_in", "length_out"]
TEACHER_DISTANCES_COLUMNS = ["layer", "kind", "unit", "quantity", "distance", "length_out"]
TEACHER_DISTANCES_LOWEST = 1e-16
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
    parts = [
        each.reindex(columns=TEACHER_DISTANCES_COLUMNS)
        for each in (*marks, missing, extra)
        if not each.empty
    ]
    return pd.concat(parts, ignore_index=True)


def draw_teacher_distances(drawn: pd.DataFrame) -> Figure:
    """Draw logarithmic cosine distances; the teacher's units left of a line, excess right of it.

    A unit in excess is shown at its distance to the nearest unit of the teacher.

    Args:
        drawn: the table of this figure.
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
    """Draw the marks of one layer."""
    units = marks[marks["kind"] == "unit"]
    width = units["unit"].max() + 1
    for name, (marker, colour) in LOOKS.items():
        some = marks[marks["quantity"] == name]
        if some.empty:
            continue
        positions = width + 0.5 + np.arange(len(some)) if name == MORE else some["unit"]
        values = some["distance"].clip(lower=TEACHER_DISTANCES_LOWEST)
        axes.plot(positions, values, marker, color=colour, label=name, markersize=4, linestyle="")
    if (marks["kind"] == "excess").any():
        axes.axvline(width - 0.25, color="black", linewidth=0.8)
    axes.set_yscale("log")
    axes.set_xticks(list(style.spread(int(width), 20)))
    axes.set_ylim(top=max(2.0, 2 * marks["distance"].max()))


def save_extraction(tables: Mapping[str, pd.DataFrame], folder: Path) -> list[Path]:
    """Draw and write all figures of the tables of `extract.py`.

    Args:
        tables: as in `extraction_drawings`.
        folder: created if it does not exist.

    Returns:
        The files, see `files.save`.
    """
    return files.save_all(extraction_drawings(tables), folder)


def extraction_drawings(tables: Mapping[str, pd.DataFrame]) -> Iterator[Drawing]:
    """All figures of the tables.

    Args:
        tables: by the names under which `extract.py` writes them; comparison and excess only if
            there is a teacher.
    """
    yield Drawing("losses", student_losses_table(tables["losses"]), draw_student_losses)
    yield Drawing("dendrogram", cluster_tree_table(tables["merges"]), draw_cluster_tree)
    yield Drawing("cluster_counts", cluster_counts_table(tables["counts"]), draw_cluster_counts)
    yield Drawing("distances", unit_distances_table(tables["matrix"]), draw_unit_distances)
    yield Drawing("angles", cluster_angles_table(tables["clusters"]), draw_cluster_angles)
    if "comparison" in tables:
        marks = teacher_distances_table(tables["comparison"], tables["excess"])
        yield Drawing("teacher", marks, draw_teacher_distances)
