"""How different the units of students are, up to the sign that their activation leaves open.

The distance of two vectors (w, b) is |u - v| over the longer of the two lengths, and where the sign
is open the smaller of that for v and -v: no unit then has to be turned by a coordinate that may be
0. Where the length is open too, both have length 1. Vectors of length 0 are at distance 2, the
largest there is, from everything.

Computed by matrix products in float64, a block of rows at a time: in float32 the difference of
near-duplicates drowns in rounding.
"""

import math
from collections.abc import Iterator

import numpy as np
import torch
from scipy import sparse
from scipy.sparse import csgraph
from torch import Tensor

from isthmus.extraction.symmetries import Symmetry

BLOCK_VALUES = 2**20  # of a block of rows: 8 MiB
FARTHEST = 2.0


def of_angle(angle: float) -> float:
    """The distance of two vectors of equal length at an angle in radians."""
    return 2 * math.sin(angle / 2)


def angles(vectors: Tensor, symmetry: Symmetry) -> Tensor:
    """(units, units), the angle between each two vectors, in radians, up to an open sign."""
    unit = torch.nn.functional.normalize(vectors.double(), dim=1)
    chords = torch.cdist(unit, unit, compute_mode="donot_use_mm_for_euclid_dist")
    if symmetry.sign is not None:
        opposite = torch.cdist(unit, -unit, compute_mode="donot_use_mm_for_euclid_dist")
        chords = torch.minimum(chords, opposite)
    return 2 * torch.asin((chords / 2).clamp(max=1))  # exact for small angles, unlike acos


def blocks(
    vectors: Tensor, symmetry: Symmetry, upper: bool = False
) -> Iterator[tuple[int, Tensor]]:
    """The matrix of distances, rows from the given one on, (rows, units) float64.

    Args:
        vectors: (units, inputs).
        symmetry: of the activation.
        upper: leave out columns before the first row: (rows, units - first).
    """
    vectors = vectors.double()
    lengths = vectors.norm(dim=1)  # (units,)
    there = lengths > 0
    if symmetry.scales:
        vectors = vectors / torch.where(there, lengths, 1.0).unsqueeze(1)
        lengths = there.double()
    squares = lengths.square()
    step = max(1, BLOCK_VALUES // max(1, len(vectors)))
    for first in range(0, len(vectors), step):
        rows, columns = slice(first, first + step), slice(first if upper else 0, None)
        products = vectors[rows] @ vectors[columns].T
        if symmetry.sign is not None:
            products.abs_()
        distances = products.mul_(-2).add_(squares[rows].unsqueeze(1)).add_(squares[columns])
        longer = torch.maximum(lengths[rows].unsqueeze(1), lengths[columns])
        distances = distances.clamp_(min=0).sqrt_().div_(longer)
        if not bool(there.all()):
            distances[~there[rows]] = FARTHEST
            distances[:, ~there[columns]] = FARTHEST
        yield first, distances


def condensed(vectors: Tensor, symmetry: Symmetry) -> np.ndarray:
    """Distances of all pairs, (units * (units - 1) / 2,) float64, in scipy's order.

    Takes 4 * units**2 bytes, 1.6 GB for 20,000 units, beside one block of rows.
    """
    count = len(vectors)
    result, done = np.empty(count * (count - 1) // 2), 0
    for _, rows in blocks(vectors, symmetry, upper=True):
        for place, row in enumerate(rows.numpy()):
            following = row[place + 1 :]
            result[done : done + len(following)] = following
            done += len(following)
    return result


def square(vectors: Tensor, symmetry: Symmetry) -> Tensor:
    """(units, units) float64, for few units."""
    found = torch.cat([rows for _, rows in blocks(vectors, symmetry)])
    return found.fill_diagonal_(0)


def neighbourhoods(vectors: Tensor, symmetry: Symmetry, reach: float) -> list[np.ndarray]:
    """Units that are connected by steps of at most `reach`: indices of each such set.

    Takes the memory of a block of rows and of the pairs found in it, whatever the number of units.
    """
    count = len(vectors)
    labels = np.arange(count)
    for first, rows in blocks(vectors, symmetry):
        near_rows, near_columns = (rows <= reach).numpy().nonzero()
        ends = np.stack([labels[near_rows + first], labels[near_columns]])
        ends = np.unique(ends, axis=1)
        graph = sparse.coo_array((np.ones(ends.shape[1], bool), tuple(ends)), (count, count))
        _, joined = csgraph.connected_components(graph, directed=False)
        labels = joined[labels]
    order = np.argsort(labels, kind="stable")
    borders = np.flatnonzero(np.diff(labels[order])) + 1
    return np.split(order, borders)
