"""Clusters students' units: distances, a tree of average linkage, and where it is cut."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse
from scipy.cluster import hierarchy
from scipy.sparse import csgraph
from torch import Tensor

from isthmus.extraction.stacks import Symmetry

BLOCK_VALUES = 2**20  # numbers in a block of rows: 8 MiB
FARTHEST = 2.0


def angle_distance(angle: float) -> float:
    """The distance of two vectors of equal length at an angle in radians."""
    return 2 * math.sin(angle / 2)


def angles(vectors: Tensor, symmetry: Symmetry) -> Tensor:
    """(units, units), the angle between each two vectors, in radians, up to an open sign.

    A vector of length zero is at a right angle to all.
    """
    unit = torch.nn.functional.normalize(vectors.double(), dim=1)
    chords = torch.cdist(unit, unit, compute_mode="donot_use_mm_for_euclid_dist")
    if symmetry.sign is not None:
        opposite = torch.cdist(unit, -unit, compute_mode="donot_use_mm_for_euclid_dist")
        chords = torch.minimum(chords, opposite)
    arcs = 2 * torch.asin((chords / 2).clamp(max=1))  # exact for small angles, unlike acos
    nonzero = vectors.norm(dim=1) > 0
    return torch.where(nonzero.unsqueeze(1) & nonzero, arcs, math.pi / 2)


def distance_blocks(
    vectors: Tensor, symmetry: Symmetry, upper: bool = False
) -> Iterator[tuple[int, Tensor]]:
    """Blocks of rows of the matrix of distances: the first row, and (rows, units) float64.

    Args:
        vectors: (units, inputs).
        symmetry: of the activation.
        upper: leave out columns before the first row: (rows, units - first).
    """
    vectors = vectors.double()
    lengths = vectors.norm(dim=1)  # (units,)
    nonzero = lengths > 0
    if symmetry.scales:
        vectors = vectors / torch.where(nonzero, lengths, 1.0).unsqueeze(1)
        lengths = nonzero.double()
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
        if not bool(nonzero.all()):
            distances[~nonzero[rows]] = FARTHEST
            distances[:, ~nonzero[columns]] = FARTHEST
        yield first, distances


def condensed_distances(vectors: Tensor, symmetry: Symmetry) -> np.ndarray:
    """Distances of all pairs, (units * (units - 1) / 2,) float64, in scipy's order.

    Takes 4 * units**2 bytes, 1.6 GB for 20,000 units, beside one block of rows.
    """
    count = len(vectors)
    result, done = np.empty(count * (count - 1) // 2), 0
    for _, rows in distance_blocks(vectors, symmetry, upper=True):
        for place, row in enumerate(rows.numpy()):
            following = row[place + 1 :]
            result[done : done + len(following)] = following
            done += len(following)
    return result


def square_distances(vectors: Tensor, symmetry: Symmetry) -> Tensor:
    """The matrix of distances, (units, units) float64, for few units."""
    distances = torch.cat([rows for _, rows in distance_blocks(vectors, symmetry)])
    return distances.fill_diagonal_(0)


def neighbourhoods(vectors: Tensor, symmetry: Symmetry, reach: float) -> list[np.ndarray]:
    """Units that are connected by steps of at most `reach`: indices of each such set.

    Takes the memory of a block of rows and of the pairs found in it, whatever the number of units.
    """
    count = len(vectors)
    labels = np.arange(count)
    for first, rows in distance_blocks(vectors, symmetry):
        near_rows, near_columns = (rows <= reach).numpy().nonzero()
        ends = np.stack([labels[near_rows + first], labels[near_columns]])
        ends = np.unique(ends, axis=1)
        graph = sparse.coo_array((np.ones(ends.shape[1], bool), tuple(ends)), (count, count))
        _, joined = csgraph.connected_components(graph, directed=False)
        labels = joined[labels]
    order = np.argsort(labels, kind="stable")
    borders = np.flatnonzero(np.diff(labels[order])) + 1
    return np.split(order, borders)


MOST_AT_ONCE = 20_000  # units with all distances in memory: 1.6 GB, and again in scipy's linkage
ROUNDING = 1e-7  # of a distance; lower heights count as equal
FULL_GROWTH = 4.0  # factor by which the height grows on a plateau that counts in full


@dataclass(frozen=True)
class LinkageTree:
    """A tree of average linkage up to a height; one tree for each set of neighbours.

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
    """The number of large clusters after each merge, in order of height."""

    heights: np.ndarray  # (merges,)
    large: np.ndarray  # (merges,)


@dataclass(frozen=True)
class Cut:
    """Where a tree is cut."""

    height: float
    plateau: tuple[float, float]  # heights between which the number of large clusters stays
    num_large: int


def grow_tree(
    vectors: Tensor, symmetry: Symmetry, limit: float, most_at_once: int = MOST_AT_ONCE
) -> LinkageTree:
    """The tree of average linkage (UPGMA), complete up to a height.

    All distances are in memory for up to `most_at_once` units. For more, units are first put
    into sets of neighbours: no pair of two sets is closer than `limit`, so their average cannot be
    either, and the trees of the sets are exactly what the whole tree has below that height.

    Raises:
        ValueError: a set of neighbours has more units than that.
    """
    if len(vectors) <= most_at_once:
        sets = [np.arange(len(vectors))]
    else:
        sets = neighbourhoods(vectors, symmetry, limit)
    largest = max(map(len, sets))
    if largest > most_at_once:
        raise ValueError(
            f"extraction.beta: {largest} of {len(vectors)} units are neighbours of each other, "
            f"more than the {most_at_once} whose distances fit in memory; a smaller beta, or "
            f"extraction.mask, separates more of them"
        )
    linkages = [
        hierarchy.linkage(condensed_distances(vectors[units], symmetry), "average")
        if len(units) > 1
        else np.empty((0, 4))
        for units in sets
    ]
    return LinkageTree(tuple(zip(sets, linkages, strict=True)), len(vectors), limit)


def count_large(tree: LinkageTree, owners: Sequence[int], min_owners: float) -> Counts:
    """The number of clusters with units of at least `min_owners` students after each merge.

    In one pass: the students of a merge are the union of those of its two clusters. A merge adds 1
    if its cluster is large, and subtracts 1 for each of its two that were large.

    Args:
        tree: of two units or more.
        owners: the student that each unit is of.
        min_owners: more than 1.
    """
    heights, changes = [], []
    for units, linkage in tree.parts:
        sets = [1 << owners[unit] for unit in units.tolist()]  # one bit per student
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
    """Cut the tree where most clusters are large, before they join units that do not belong.

    A plateau is a range of heights with one number of large clusters. The number is largest within
    the noise of duplicates, where one cluster is several, or where stray units join by chance; but
    not for long. So a plateau counts in full if the height grows fourfold on it, and less in
    proportion to the logarithm of that growth. On the best one, the cut is in the widest gap
    between one merge and the next, again as a ratio: units that belong together join before it,
    stray units after it.

    Args:
        counts: by `count_large`.
        limit: the largest height that is considered.

    Raises:
        ValueError: no cluster is large below `limit`.
    """
    heights = np.append(counts.heights, np.inf)
    ends_step = heights[:-1] < heights[1:]  # equal heights are one step
    merges = np.flatnonzero(ends_step & (heights[:-1] < limit))
    if counts.large[merges].max(initial=0) == 0:
        raise ValueError("no cluster found")
    large = counts.large[merges]
    edges = np.maximum(np.append(heights[merges], limit), ROUNDING)  # each number holds to the next
    starts = np.flatnonzero(np.diff(large, prepend=-1))  # of each plateau
    ends = np.append(starts[1:], len(merges))
    growth = np.log(edges[ends] / edges[starts]) / math.log(FULL_GROWTH)
    best = int(np.argmax(large[starts] * np.minimum(growth, 1)))
    first, end = starts[best], ends[best]
    gap = first + int(np.argmax(edges[first + 1 : end + 1] / edges[first:end]))
    return Cut(
        height=math.sqrt(edges[gap] * edges[gap + 1]),
        plateau=(float(edges[first]), float(edges[end])),
        num_large=int(large[first]),
    )


NOTHING = "no cluster found"
MOST_ANGLES = 1000  # members of a cluster between which angles are measured


@dataclass(frozen=True)
class Cluster:
    """A large cluster.

    Args:
        size: units in it.
        num_students: that have a unit in it.
        angle: the median of all angles between two of its units, in radians.
        kept: whether it stands for a unit of the teacher.
    """

    size: int
    num_students: int
    angle: float
    kept: bool


@dataclass(frozen=True, eq=False)
class Clustering:
    """The clusters of the units of one layer.

    Args:
        active: (students, units) bool, the units that were clustered.
        tree: of these, student by student.
        counts: of large clusters at every height.
        cut: where the tree was cut.
        large: the clusters with at least gamma * students units, those kept first.
        labels: (students, units), number of the kept cluster, -1 for units in none.
        signs: (students, units), 1 or -1, which make units of a cluster point the same way.
    """

    active: Tensor
    tree: LinkageTree
    counts: Counts
    cut: Cut
    large: tuple[Cluster, ...]
    labels: Tensor
    signs: Tensor

    @property
    def num_kept(self) -> int:
        return sum(cluster.kept for cluster in self.large)


def cluster_units(
    vectors: Tensor, active: Tensor, symmetry: Symmetry, gamma: float, beta: float
) -> Clustering:
    """Cluster the units of one layer.

    A cluster is kept if it has units of at least gamma * students students, and the median angle
    between them is at most beta. The tree is cut below the distance of two vectors of equal length
    at angle beta.

    Args:
        vectors: (students, units, inputs), what goes into each unit.
        active: (students, units) bool; the others are in no cluster.
        symmetry: of the activation.
        gamma: in (0, 1].
        beta: in radians.

    Raises:
        ValueError: no cluster is kept.
    """
    num_students, width, _ = vectors.shape
    places = active.flatten().nonzero().flatten()
    flat, min_size = vectors.flatten(0, 1)[places].double(), gamma * num_students
    limit = angle_distance(beta)
    if len(flat) < 2:
        raise ValueError(NOTHING)
    tree = grow_tree(flat, symmetry, limit)
    owners = (places // width).tolist()
    counts = count_large(tree, owners, min_size)
    cut = choose_cut(counts, limit)
    clusters = []
    for units in _large_clusters(tree.labels(cut.height), min_size):
        students = len({owners[unit] for unit in units.tolist()})
        angle = _median_angle(flat[units], symmetry)
        kept = angle <= beta and students >= min_size
        clusters.append((Cluster(len(units), students, angle, kept), units))
    clusters.sort(key=lambda each: not each[0].kept)
    shape = (num_students, width)
    labels, signs = torch.full(shape, -1), torch.ones(shape, dtype=torch.float64)
    for number, (cluster, units) in enumerate(clusters):
        if cluster.kept:
            labels.view(-1)[places[units]] = number
            if symmetry.sign is not None:
                signs.view(-1)[places[units]] = orient_signs(flat[units])
    large = tuple(cluster for cluster, _ in clusters)
    result = Clustering(active, tree, counts, cut, large, labels, signs)
    if result.num_kept == 0:
        raise ValueError(NOTHING)
    return result


def _large_clusters(labels: np.ndarray, min_size: float) -> list[Tensor]:
    """The units of each cluster of at least `min_size`."""
    sizes = np.bincount(labels)
    return [
        torch.from_numpy(np.flatnonzero(labels == label))
        for label in np.flatnonzero(sizes >= min_size)
    ]


def orient_signs(vectors: Tensor) -> Tensor:
    """Signs that make all vectors of a cluster point along their leading direction.

    The sign of each vector is taken from that direction, not from a coordinate; the sign of the
    direction itself from its largest coordinate.

    Args:
        vectors: (units, inputs).

    Returns:
        (units,) of 1 and -1.
    """
    unit = torch.nn.functional.normalize(vectors, dim=1)
    _, _, directions = torch.linalg.svd(unit, full_matrices=False)
    leading = directions[0]
    leading = leading * leading[leading.abs().argmax()].sign()
    return torch.where(unit @ leading < 0, -1.0, 1.0).to(vectors)


def _median_angle(vectors: Tensor, symmetry: Symmetry) -> float:
    if len(vectors) > MOST_ANGLES:  # evenly from all students
        vectors = vectors[torch.linspace(0, len(vectors) - 1, MOST_ANGLES).long()]
    pairs = angles(vectors, symmetry)
    above = torch.ones_like(pairs, dtype=torch.bool).triu(1)
    return float(np.median(pairs[above].numpy()))  # torch's median of an even number is too low
