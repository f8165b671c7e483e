"""Average linkage of many units, and the height at which the tree is cut."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.cluster import hierarchy
from torch import Tensor

from isthmus.extraction import distances
from isthmus.extraction.symmetries import Symmetry

MOST_AT_ONCE = 20_000  # units whose distances are all held: 1.6 GB, and as much in scipy's linkage
ROUNDING = 1e-7  # of a distance; lower heights are not told apart
LASTING = 4.0  # by which the height grows on a plateau that counts in full


@dataclass(frozen=True)
class Tree:
    """What average linkage joins up to a height; beyond it, one tree for each set of neighbours.

    Args:
        parts: the units of each set, and scipy's linkage matrix of them.
        num_units: in all of them.
        limit: height up to which it is complete.
    """

    parts: tuple[tuple[np.ndarray, np.ndarray], ...]
    num_units: int
    limit: float

    def labels(self, height: float) -> np.ndarray:
        """(units,), the number of the cluster that each unit is in below a height."""
        labels, used = np.empty(self.num_units, dtype=int), 0
        for units, linkage in self.parts:
            if len(linkage) == 0:
                labels[units] = used
            else:
                labels[units] = hierarchy.fcluster(linkage, height, "distance") - 1 + used
            used = int(labels[units].max()) + 1
        return labels


@dataclass(frozen=True)
class Counts:
    """How many clusters are large after each merge, in order of height."""

    heights: np.ndarray  # (merges,)
    large: np.ndarray  # (merges,)


@dataclass(frozen=True)
class Cut:
    """Where a tree is cut."""

    height: float
    plateau: tuple[float, float]  # heights between which the number of large clusters stays
    num_large: int


def grow(
    vectors: Tensor, symmetry: Symmetry, limit: float, most_at_once: int = MOST_AT_ONCE
) -> Tree:
    """The tree of average linkage (UPGMA), complete up to a height.

    All distances are held at once for up to `most_at_once` units. For more, units are first put
    into sets of neighbours: no pair of two sets is closer than `limit`, so their average cannot be
    either, and the trees of the sets are exactly what the whole tree has below that height.

    Raises:
        ValueError: a set of neighbours has more units than that.
    """
    if len(vectors) <= most_at_once:
        sets = [np.arange(len(vectors))]
    else:
        sets = distances.neighbourhoods(vectors, symmetry, limit)
    largest = max(map(len, sets))
    if largest > most_at_once:
        raise ValueError(
            f"extraction.beta: {largest} of {len(vectors)} units are neighbours of each other, "
            f"more than the {most_at_once} whose distances are held at once; a smaller beta, or "
            f"extraction.mask, tells more of them apart"
        )
    linkages = [
        hierarchy.linkage(distances.condensed(vectors[units], symmetry), "average")
        if len(units) > 1
        else np.empty((0, 4))
        for units in sets
    ]
    return Tree(tuple(zip(sets, linkages, strict=True)), len(vectors), limit)


def count_large(tree: Tree, owners: Sequence[int], min_owners: float) -> Counts:
    """The number of clusters with units of at least `min_owners` students after each merge.

    In one pass: the students of a merge are the union of those of its two clusters. It adds one if
    it makes a cluster large, and takes one away for each of its two that were.

    Args:
        tree: of two units or more.
        owners: the student that each unit is of.
        min_owners: more than 1.
    """
    heights, changes = [], []
    for units, linkage in tree.parts:
        sets = [1 << owners[unit] for unit in units.tolist()]  # a bit a student
        for left, right in linkage[:, :2].astype(int).tolist():
            sets.append(sets[left] | sets[right])
        large = np.array([each.bit_count() >= min_owners for each in sets])
        before = large[linkage[:, :2].astype(int)].sum(axis=1)
        heights.append(linkage[:, 2])
        changes.append(large[len(units) :].astype(int) - before)
    joined = np.concatenate(heights)
    order = np.argsort(joined, kind="stable")
    return Counts(joined[order], np.concatenate(changes)[order].cumsum())


def choose_cut(counts: Counts, limit: float) -> Cut:
    """Where there are most large clusters, before they take up what does not belong to them.

    A plateau is a range of heights with one number of large clusters. The number is largest within
    the noise of duplicates, where one cluster is several, or where strays meet by chance; but not
    for long. So a plateau counts in full if the height grows fourfold on it, and less in
    proportion to the logarithm of that growth. On the best one, the cut is in the widest gap
    between one merge and the next, again as a ratio: what belongs together joins before it, and
    strays come after it.

    Args:
        counts: by `count_large`.
        limit: the largest height that is looked at.

    Raises:
        ValueError: no cluster is large below `limit`.
    """
    heights = np.append(counts.heights, np.inf)
    ends_step = heights[:-1] < heights[1:]  # equal heights are one step
    seen = np.flatnonzero(ends_step & (heights[:-1] < limit))
    if counts.large[seen].max(initial=0) == 0:
        raise ValueError("no cluster found")
    large = counts.large[seen]
    edges = np.maximum(np.append(heights[seen], limit), ROUNDING)  # each number holds to the next
    starts = np.flatnonzero(np.diff(large, prepend=-1))  # of each plateau
    ends = np.append(starts[1:], len(seen))
    lasting = np.log(edges[ends] / edges[starts]) / math.log(LASTING)
    best = int(np.argmax(large[starts] * np.minimum(lasting, 1)))
    first, end = starts[best], ends[best]
    gap = first + int(np.argmax(edges[first + 1 : end + 1] / edges[first:end]))
    return Cut(
        height=math.sqrt(edges[gap] * edges[gap + 1]),
        plateau=(float(edges[first]), float(edges[end])),
        num_large=int(large[first]),
    )
