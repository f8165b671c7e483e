from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.cluster import hierarchy
from scipy.spatial import distance

from isthmus.extraction import clustering as extraction_clustering
from isthmus.extraction import measures, reconstruction
from tests.extraction.made import INPUTS, random_stack, students_of

BETA = torch.pi / 6


def level_of(name, seed=0, num_students=4):
    """The first hidden layer of students that a teacher of three units made."""
    teacher = random_stack(name, [3, 3, 2], 1, seed)
    students = students_of(teacher, num_students, noise=1e-2, seed=seed)
    active = reconstruction.is_active(students, [INPUTS])
    vectors = students.layers[0].vectors()
    clustering = extraction_clustering.cluster_units(vectors, active, students.symmetry, 0.75, BETA)
    winners = tuple(range(clustering.num_kept))
    return reconstruction.Level(vectors, clustering, winners), students.symmetry


def naive_distances(level, symmetry):
    """Condensed distances of active units, by scipy."""
    vectors = level.vectors[level.clustering.active].numpy()
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if symmetry.scales:
        vectors, lengths = vectors / lengths, np.ones_like(lengths)
    direct, opposite = (distance.cdist(vectors, sign * vectors) for sign in (1, -1))
    nearest = np.minimum(direct, opposite) if symmetry.sign else direct
    return distance.squareform(nearest / np.maximum(lengths, lengths.T), checks=False)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", ["relu", "tanh", "g"])
def test_merges_are_drawn_where_scipys_dendrogram_draws_them(name, seed):
    level, symmetry = level_of(name, seed)
    linkage = hierarchy.linkage(naive_distances(level, symmetry), "average")
    drawn = hierarchy.dendrogram(linkage, no_plot=True)
    expected = sorted(
        (x[0] / 10 - 0.5, y[0], x[3] / 10 - 0.5, y[3], y[1])
        for x, y in zip(drawn["icoord"], drawn["dcoord"], strict=True)
    )
    rows = sorted(row[1:6] for row in measures.merge_rows(1, level, symmetry))
    np.testing.assert_allclose(rows, expected, atol=1e-6)
    labels = level.clustering.labels[level.clustering.active].numpy()
    members = [{int(label)} for label in labels]
    for first, second in linkage[:, :2].astype(int):
        members.append(members[first] | members[second])
    owners = [min(each) if len(each) == 1 else -1 for each in members[len(labels) :]]
    assert [row[6] for row in measures.merge_rows(1, level, symmetry)] == owners
    assert {row[7:] for row in measures.merge_rows(1, level, symmetry)} == {
        (level.clustering.cut.height, len(labels), len(labels))
    }


@pytest.mark.parametrize("name", ["relu", "tanh", "g"])
def test_the_matrix_is_that_of_scipy_in_the_order_of_the_leaves(name):
    level, symmetry = level_of(name)
    condensed = naive_distances(level, symmetry)
    order = hierarchy.leaves_list(hierarchy.linkage(condensed, "average"))
    expected = distance.squareform(condensed)[np.ix_(order, order)]
    rows = measures.matrix_rows(1, level, symmetry)
    found = np.full_like(expected, np.nan)
    for _, row, column, value, *_ in rows:
        found[row, column] = value
    np.testing.assert_allclose(found, expected, atol=1e-6)
    labels = level.clustering.labels[level.clustering.active].numpy()[order]
    assert all(row[4] == labels[row[1]] for row in rows)


@pytest.mark.parametrize("seed", range(3))
def test_counts_say_the_number_of_large_clusters_at_every_height(seed):
    level, symmetry = level_of("tanh", seed)
    active = level.clustering.active
    owners = active.nonzero()[:, 0].numpy()
    linkage = hierarchy.linkage(naive_distances(level, symmetry), "average")
    rows = measures.count_rows(1, level)
    assert all(one[2] != two[2] for one, two in zip(rows, rows[1:], strict=False))
    for height in np.geomspace(1e-4, linkage[-1, 2], 50):
        labels = hierarchy.fcluster(linkage, height, "distance")
        large = sum(len(set(owners[labels == label])) >= 3 for label in set(labels))
        below = [row[2] for row in rows if row[1] <= height]
        assert (below[-1] if below else 0) == large
    cut = level.clustering.cut
    assert {row[3:] for row in rows} == {(cut.height, *cut.plateau, level.clustering.tree.limit)}


def test_rows_of_units_and_clusters_and_their_summary_agree():
    level, _ = level_of("relu", seed=2)
    units, clusters = measures.unit_rows(1, level), measures.cluster_rows(1, level, BETA)
    shape = level.clustering.labels.shape
    assert [row[1:3] for row in units] == list(np.ndindex(*shape))
    kept = [row for row in clusters if row[6]]
    for _, label, size, num_students, angle, beta, _, winner in kept:
        members = [row for row in units if row[3] == label]
        assert (len(members), len({row[1] for row in members})) == (size, num_students)
        assert all(row[5] for row in members) and angle <= beta == BETA
        assert winner == level.winners[label]
    assert {row[1] for row in clusters if not row[6]} <= {measures.MIXED}
    summary = measures.summarize_clustering(level, 0.25)
    assert summary["num_units"] == len(kept)
    assert summary["num_clusters_not_kept"] == len(clusters) - len(kept)
    assert summary["num_student_units"] == len(units)
    assert summary["num_in_no_cluster"] == sum(row[3] == -1 for row in units)
    assert summary["num_silent"] == sum(not row[5] for row in units)
    assert summary["affine_path"] == 0.25


@pytest.mark.parametrize("seed", range(3))
def test_the_error_of_a_network_is_that_of_torch_over_numpys_variance(seed):
    network = random_stack("gelu", [3, 4, 2], 1, seed)
    targets = random_stack("gelu", [3, 4, 2], 1, seed + 9).outputs([INPUTS])[0]
    task = SimpleNamespace(held_out=INPUTS, held_out_targets=targets, teacher=None)
    measured = measures._measure_network(task, None, network, BETA)
    outputs = network.outputs([INPUTS])[0]
    mse = torch.nn.functional.mse_loss(outputs, targets).item()
    assert measured["mse"] == pytest.approx(mse)
    assert measured["mse_over_variance"] == pytest.approx(mse / np.var(targets.numpy(), 0).mean())
    assert measured["max_difference"] == np.abs(outputs.numpy() - targets.numpy()).max()
