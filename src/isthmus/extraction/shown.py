"""What became of the layers of students, as tables: a row a cluster, a unit, a merge."""

from typing import Any

import numpy as np
import torch
from scipy.cluster import hierarchy

from isthmus.extraction import distances
from isthmus.extraction.reconstruction import Level
from isthmus.extraction.symmetries import Symmetry

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


def clusters(number: int, level: Level, beta: float) -> Rows:
    """A row for each large cluster of a layer, in the order of `CLUSTERS`."""
    rows: Rows = []
    for place, each in enumerate(level.clustering.large):
        winner = level.winners[place] if each.kept else None
        label = place if each.kept else MIXED
        size = (each.size, each.num_students, each.angle, beta, each.kept)
        rows.append((number, label, *size, winner))
    return rows


def units(number: int, level: Level) -> Rows:
    """A row for each unit of each student, in the order of `UNITS`."""
    found = level.clustering
    students, width = found.labels.shape
    columns = [each.flatten().tolist() for each in (found.labels, found.signs, found.heard)]
    places = [(student, unit) for student in range(students) for unit in range(width)]
    return [
        (number, *place, label, int(sign), heard)
        for place, label, sign, heard in zip(places, *columns, strict=True)
    ]


def counts(number: int, level: Level) -> Rows:
    """The heights at which the number of large clusters changes, in the order of `COUNTS`."""
    found, cut = level.clustering, level.clustering.cut
    heights, large = found.counts.heights, found.counts.large
    last = np.flatnonzero(np.append(heights[:-1] < heights[1:], True))  # of equal heights
    changes = last[np.diff(large[last], prepend=0) != 0]
    limit = found.tree.limit
    return [
        (number, float(heights[k]), int(large[k]), cut.height, *cut.plateau, limit) for k in changes
    ]


def merges(number: int, level: Level, symmetry: Symmetry) -> Rows:
    """The tree of a layer as it is drawn, in the order of `MERGES`.

    A merge joins two clusters, at `left` and `right` among the leaves, that were made at
    `left_height` and `right_height`. Leaves are at 0, 1, ...
    """
    vectors, labels, count = _thinned(level, MOST_LEAVES)
    if len(vectors) < 2:
        return []
    linkage = hierarchy.linkage(distances.condensed(vectors, symmetry), "average")
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


def matrix(number: int, level: Level, symmetry: Symmetry) -> Rows:
    """Distances between units in the order of the tree, in the order of `MATRIX`."""
    vectors, labels, count = _thinned(level, MOST_ROWS)
    if len(vectors) < 2:
        return []
    linkage = hierarchy.linkage(distances.condensed(vectors, symmetry), "average")
    leaves = hierarchy.leaves_list(linkage)
    ordered = distances.square(vectors, symmetry)[leaves][:, leaves].tolist()
    return [
        (number, row, column, value, int(labels[leaves[row]]), len(leaves), count)
        for row, values in enumerate(ordered)
        for column, value in enumerate(values)
    ]


def summary(level: Level, left: float) -> dict[str, Any]:
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
