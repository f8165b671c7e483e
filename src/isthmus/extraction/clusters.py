"""Units that students agree on: clusters of one layer's units, all students taken together."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from isthmus.extraction import distances, trees
from isthmus.extraction.symmetries import Symmetry

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
    """What became of the units of one layer.

    Args:
        heard: (students, units) bool, the units that were clustered.
        tree: of these, student by student.
        counts: of large clusters at every height.
        cut: where the tree was cut.
        large: the clusters with at least gamma * students units, those kept first.
        labels: (students, units), number of the kept cluster, -1 for what is in none.
        signs: (students, units), 1 or -1, which make units of a cluster point the same way.
    """

    heard: Tensor
    tree: trees.Tree
    counts: trees.Counts
    cut: trees.Cut
    large: tuple[Cluster, ...]
    labels: Tensor
    signs: Tensor

    @property
    def num_kept(self) -> int:
        return sum(cluster.kept for cluster in self.large)


def find(
    vectors: Tensor, heard: Tensor, symmetry: Symmetry, gamma: float, beta: float
) -> Clustering:
    """Cluster the units of one layer.

    A cluster is kept if it has units of at least gamma * students students, and the median angle
    between them is at most beta. The tree is not looked at above the distance of
    two vectors of equal length at angle beta.

    Args:
        vectors: (students, units, inputs), what goes into each unit.
        heard: (students, units) bool; the others are in no cluster.
        symmetry: of the activation.
        gamma: in (0, 1].
        beta: in radians.

    Raises:
        ValueError: no cluster is kept.
    """
    num_students, width, _ = vectors.shape
    places = heard.flatten().nonzero().flatten()
    flat, min_size = vectors.flatten(0, 1)[places].double(), gamma * num_students
    limit = distances.of_angle(beta)
    if len(flat) < 2:
        raise ValueError(NOTHING)
    tree = trees.grow(flat, symmetry, limit)
    owners = (places // width).tolist()
    counts = trees.count_large(tree, owners, min_size)
    cut = trees.choose_cut(counts, limit)
    found = []
    for units in _large(tree.labels(cut.height), min_size):
        students = len({owners[unit] for unit in units.tolist()})
        angle = _median_angle(flat[units], symmetry)
        kept = angle <= beta and students >= min_size
        found.append((Cluster(len(units), students, angle, kept), units))
    found.sort(key=lambda each: not each[0].kept)
    shape = (num_students, width)
    labels, signs = torch.full(shape, -1), torch.ones(shape, dtype=torch.float64)
    for number, (cluster, units) in enumerate(found):
        if cluster.kept:
            labels.view(-1)[places[units]] = number
            if symmetry.sign is not None:
                signs.view(-1)[places[units]] = pointing(flat[units])
    large = tuple(cluster for cluster, _ in found)
    result = Clustering(heard, tree, counts, cut, large, labels, signs)
    if result.num_kept == 0:
        raise ValueError(NOTHING)
    return result


def _large(labels: np.ndarray, min_size: float) -> list[Tensor]:
    """The units of each cluster of at least `min_size`."""
    sizes = np.bincount(labels)
    return [
        torch.from_numpy(np.flatnonzero(labels == label))
        for label in np.flatnonzero(sizes >= min_size)
    ]


def pointing(vectors: Tensor) -> Tensor:
    """Signs that make all vectors of a cluster point along their leading direction.

    That direction, and not any coordinate, says which way each points; where it points itself is
    settled by its own largest coordinate.

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
    found = distances.angles(vectors, symmetry)
    above = torch.ones_like(found, dtype=torch.bool).triu(1)
    return float(found[above].median())
