"""Tables and summary of `extract.py`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.cluster import hierarchy

from isthmus.extraction import clustering, comparison
from isthmus.extraction.comparison import Aligned
from isthmus.extraction.reconstruction import Level
from isthmus.extraction.stacks import SYMMETRIES, Stack, Symmetry
from isthmus.extraction.study import Recovered, Students, Task
from isthmus.store import files

CLUSTERS = ("layer", "cluster", "size", "num_students", "angle", "beta", "kept", "winner")
UNITS = ("layer", "student", "unit", "cluster", "sign", "heard")
COUNTS = ("layer", "height", "large", "cut", "plateau_start", "plateau_end", "limit")
MERGES = ("layer", "left", "left_height", "right", "right_height", "height", "cluster", "cut") + (
    "num_shown",
    "num_units",
)
MATRIX = ("layer", "row", "column", "distance", "row_cluster", "num_shown", "num_units")
MOST_LEAVES, MOST_ROWS = 1000, 120  # that figures show; of more, so many evenly from all students
MIXED = -1  # units of several clusters, or of none

Rows = list[tuple[Any, ...]]


def cluster_rows(number: int, level: Level, beta: float) -> Rows:
    """A row for each large cluster of a layer, in the order of `CLUSTERS`."""
    rows: Rows = []
    for place, each in enumerate(level.clustering.large):
        winner = level.winners[place] if each.kept else None
        label = place if each.kept else MIXED
        size = (each.size, each.num_students, each.angle, beta, each.kept)
        rows.append((number, label, *size, winner))
    return rows


def unit_rows(number: int, level: Level) -> Rows:
    """A row for each unit of each student, in the order of `UNITS`."""
    found = level.clustering
    students, width = found.labels.shape
    columns = [each.flatten().tolist() for each in (found.labels, found.signs, found.heard)]
    places = [(student, unit) for student in range(students) for unit in range(width)]
    return [
        (number, *place, label, int(sign), heard)
        for place, label, sign, heard in zip(places, *columns, strict=True)
    ]


def count_rows(number: int, level: Level) -> Rows:
    """The heights at which the number of large clusters changes, in the order of `COUNTS`."""
    found, cut = level.clustering, level.clustering.cut
    heights, large = found.counts.heights, found.counts.large
    last = np.flatnonzero(np.append(heights[:-1] < heights[1:], True))  # of equal heights
    changes = last[np.diff(large[last], prepend=0) != 0]
    limit = found.tree.limit
    return [
        (number, float(heights[k]), int(large[k]), cut.height, *cut.plateau, limit) for k in changes
    ]


def merge_rows(number: int, level: Level, symmetry: Symmetry) -> Rows:
    """The tree of a layer as it is drawn, in the order of `MERGES`.

    A merge joins two clusters, at `left` and `right` among the leaves, that were made at
    `left_height` and `right_height`. Leaves are at 0, 1, ...
    """
    vectors, labels, count = _thinned(level, MOST_LEAVES)
    if len(vectors) < 2:
        return []
    linkage = hierarchy.linkage(clustering.condensed_distances(vectors, symmetry), "average")
    leaves = hierarchy.leaves_list(linkage)
    places = np.empty(2 * len(leaves) - 1)
    places[leaves] = np.arange(len(leaves))
    heights, owners = np.zeros_like(places), np.append(labels, np.full(len(linkage), MIXED))
    rows: Rows = []
    for made, (first, second, height, _) in enumerate(linkage, start=len(leaves)):
        left, right = sorted((int(first), int(second)), key=lambda node: places[node])
        owners[made] = owners[left] if owners[left] == owners[right] else MIXED
        places[made], heights[made] = (places[left] + places[right]) / 2, height
        ends = [float(v) for node in (left, right) for v in (places[node], heights[node])]
        where = (int(owners[made]), level.clustering.cut.height, len(vectors), count)
        rows.append((number, *ends, float(height), *where))
    return rows


def matrix_rows(number: int, level: Level, symmetry: Symmetry) -> Rows:
    """Distances between units in the order of the tree, in the order of `MATRIX`."""
    vectors, labels, count = _thinned(level, MOST_ROWS)
    if len(vectors) < 2:
        return []
    linkage = hierarchy.linkage(clustering.condensed_distances(vectors, symmetry), "average")
    leaves = hierarchy.leaves_list(linkage)
    ordered = clustering.square_distances(vectors, symmetry)[leaves][:, leaves].tolist()
    return [
        (number, row, column, value, int(labels[leaves[row]]), len(leaves), count)
        for row, values in enumerate(ordered)
        for column, value in enumerate(values)
    ]


def summarize_clustering(level: Level, left: float) -> dict[str, Any]:
    """What was kept of a layer and what was left out."""
    found = level.clustering
    return {
        "num_units": found.num_kept,
        "cut_height": found.cut.height,
        "num_large_clusters": len(found.large),
        "num_clusters_not_kept": len(found.large) - found.num_kept,
        "num_student_units": found.labels.numel(),
        "num_in_no_cluster": int((found.labels < 0).sum()),
        "num_silent": int((~found.heard).sum()),
        "affine_path": left,
    }


def _thinned(level: Level, most: int) -> tuple[torch.Tensor, np.ndarray, int]:
    """Vectors and clusters of at most so many units, and the number of all that were clustered."""
    heard = level.clustering.heard
    vectors, labels = level.vectors[heard].cpu(), level.clustering.labels[heard].numpy()
    count = len(vectors)
    if count > most:
        chosen = np.linspace(0, count - 1, most).round().astype(int)
        vectors, labels = vectors[chosen], labels[chosen]
    return vectors, labels, count


TOTALS = ("num_teacher", "num_found", "num_missing", "num_excess")
LARGEST = ("max_distance_in", "max_distance_out")


def write_layers(task: Task, found: Recovered, beta: float, folder: Path) -> None:
    """Write the tables of what became of the students' units."""
    symmetry = SYMMETRIES[task.activation]
    tables: dict[str, tuple[Sequence[str], list]] = {
        "clusters": (CLUSTERS, []),
        "units": (UNITS, []),
        "counts": (COUNTS, []),
        "merges": (MERGES, []),
        "matrix": (MATRIX, []),
    }
    for number, level in enumerate(found.levels, start=1):
        tables["clusters"][1].extend(cluster_rows(number, level, beta))
        tables["units"][1].extend(unit_rows(number, level))
        tables["counts"][1].extend(count_rows(number, level))
        tables["merges"][1].extend(merge_rows(number, level, symmetry))
        tables["matrix"][1].extend(matrix_rows(number, level, symmetry))
    for name, (columns, rows) in tables.items():
        files.write_csv(folder / f"{name}.csv", columns, rows)


def write_comparison(task: Task, found: Recovered, beta: float, folder: Path) -> Aligned | None:
    """Write how the units compare with the teacher's, if there is one.

    Returns:
        Both networks in one order.
    """
    if task.teacher is None:
        return None
    aligned = align_to_teacher(task, found, found.network, beta)
    rows = comparison.teacher_rows(aligned, task.inputs, found.kept)
    files.write_csv(folder / "comparison.csv", comparison.TEACHER_COLUMNS, rows)
    excess = comparison.excess_rows(aligned, task.inputs, found.kept)
    files.write_csv(folder / "excess.csv", comparison.EXCESS_COLUMNS, excess)
    return aligned


def align_to_teacher(task: Task, found: Recovered, network: Stack, beta: float) -> Aligned:
    """A reconstruction and the teacher in one order of units."""
    assert task.teacher is not None
    return comparison.align_units(network, task.teacher.network, beta, task.inputs, found.kept)


def summarize(task: Task, students: Students, found: Recovered, beta: float) -> dict[str, Any]:
    """What was found, layer by layer and in all, as numbers."""
    levels = [
        {"layer": number} | summarize_clustering(level, left)
        for number, (level, left) in enumerate(zip(found.levels, found.left, strict=True), 1)
    ]
    whole = _compared(task, found, found.network, beta)
    for level, more in zip(levels, whole.pop("layers", []), strict=False):
        level.update(more)
    before = _compared(task, found, found.before, beta)
    before.pop("layers", None)
    return {
        **whole,
        "num_units": [level.clustering.num_kept for level in found.levels],
        "num_inputs_compared": None if found.kept is None else int(found.kept.sum()),
        "before_finetuning": before,
        "layers": levels,
        "students": {"losses": students.losses, "epochs": students.epochs},
    }


def _compared(task: Task, found: Recovered, network: Stack, beta: float) -> dict[str, Any]:
    """Functional error of a network and, if there is a teacher, how its units compare."""
    errors = comparison.output_differences(network, task.held_out, task.held_out_targets)
    spread = task.held_out_targets.double().var(dim=0, unbiased=False).mean()
    function = {
        "mse": float(errors.square().mean()),
        "mse_over_variance": float(errors.square().mean() / spread),
        "max_difference": float(errors.abs().max()),
    }
    if task.teacher is None:
        return function
    with torch.no_grad():
        aligned = align_to_teacher(task, found, network, beta)
        rows = comparison.teacher_rows(aligned, task.inputs, found.kept)
        layers = comparison.summarize_layers(aligned, rows, task.held_out)
    totals = {name: sum(layer[name] for layer in layers) for name in TOTALS}
    largest = {
        name: comparison.largest_or_none([layer[name] for layer in layers]) for name in LARGEST
    }
    return {**totals, **largest, **function, "layers": layers}
