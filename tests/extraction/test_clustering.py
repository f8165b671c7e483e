import numpy as np
import pytest
import torch
from scipy.cluster import hierarchy
from scipy.spatial import distance

from isthmus.extraction import clustering
from isthmus.extraction.stacks import SYMMETRIES, Symmetry

ALL = torch.ones(4, 3, dtype=torch.bool)
BETA = torch.pi / 6


def agreeing(noise=1e-3, seed=0):
    """Three units of four students: two that all agree on, up to sign, and one stray."""
    generator = torch.Generator().manual_seed(seed)
    shared = torch.randn(2, 20, generator=generator, dtype=torch.float64)
    signs = 1 - 2 * torch.randint(2, (4, 2, 1), generator=generator)
    copies = signs * shared + noise * torch.randn(4, 2, 20, generator=generator).double()
    strays = torch.randn(4, 1, 20, generator=generator, dtype=torch.float64)
    return torch.cat([copies, strays], dim=1), signs.squeeze(2)


def test_what_students_agree_on_is_kept_and_strays_are_not():
    vectors, signs = agreeing()
    found = clustering.cluster_units(vectors, ALL, SYMMETRIES["tanh"], gamma=1.0, beta=BETA)
    assert found.num_kept == len(found.large) == 2
    assert [each.size for each in found.large] == [each.num_students for each in found.large]
    assert (found.labels[:, 2] == -1).all()
    for unit in (0, 1):
        assert len(set(found.labels[:, unit].tolist())) == 1
        products = found.signs[:, unit] * signs[:, unit]
        assert abs(float(products.sum())) == 4  # they all point the same way
        angle = found.large[int(found.labels[0, unit])].angle
        assert 0 < angle < 5e-3


def test_units_that_are_not_heard_are_in_no_cluster():
    vectors, _ = agreeing()
    heard = ALL.clone()
    heard[:, 0] = False
    found = clustering.cluster_units(vectors, heard, SYMMETRIES["tanh"], gamma=1.0, beta=BETA)
    assert found.num_kept == 1
    assert (found.labels[:, 0] == -1).all() and (found.labels[:, 1] == 0).all()
    with pytest.raises(ValueError, match="^no cluster found$"):
        clustering.cluster_units(vectors, ~ALL, SYMMETRIES["tanh"], gamma=1.0, beta=BETA)


def test_units_of_too_few_students_are_not_kept():
    vectors, _ = agreeing()
    vectors[0] = vectors[0, :1] * (1 + 1e-3 * torch.arange(3).view(3, 1))  # thrice in one student
    vectors[1:, 0] = torch.randn(3, 20, generator=torch.Generator().manual_seed(5)).double()
    found = clustering.cluster_units(vectors, ALL, SYMMETRIES["tanh"], gamma=0.75, beta=BETA)
    kept = {each.kept: (each.size, each.num_students) for each in found.large}
    assert kept == {True: (3, 3), False: (3, 1)}
    assert found.labels[1:, 1].tolist() == [0, 0, 0] and (found.labels[0] == -1).all()


def test_the_direction_of_a_cluster_and_no_coordinate_says_which_way_a_unit_points():
    generator = torch.Generator().manual_seed(1)
    line = torch.tensor([0.0, 3.0, 4.0, 0.0])
    noise = 0.1 * torch.randn(50, 4, generator=generator)
    signs = torch.where(torch.rand(50, generator=generator) < 0.5, -1.0, 1.0)
    assert clustering.orient_signs(signs.unsqueeze(1) * line + noise).equal(signs)
    assert clustering.orient_signs(-signs.unsqueeze(1) * line + noise).equal(-signs)


def test_the_angle_of_a_large_cluster_is_that_of_some_of_its_units(monkeypatch):
    vectors, _ = agreeing()
    whole = clustering.cluster_units(vectors, ALL, SYMMETRIES["tanh"], gamma=1.0, beta=BETA)
    monkeypatch.setattr(clustering, "MOST_ANGLES", 3)
    part = clustering.cluster_units(vectors, ALL, SYMMETRIES["tanh"], gamma=1.0, beta=BETA)
    for one, other in zip(whole.large, part.large, strict=True):
        assert other.angle == pytest.approx(one.angle, rel=0.3)
        assert other.size == 4


NONE = Symmetry()


def points(num, seed=0, dims=3):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(num, dims, generator=generator, dtype=torch.float64)


def naive(vectors, symmetry):
    """Distances by the definition, pair by pair."""
    found = np.zeros((len(vectors), len(vectors)))
    for i, u in enumerate(vectors.numpy()):
        for j, v in enumerate(vectors.numpy()):
            if symmetry.scales:
                u, v = u / np.linalg.norm(u), v / np.linalg.norm(v)
            signs = (1, -1) if symmetry.sign else (1,)
            longer = max(np.linalg.norm(u), np.linalg.norm(v))
            found[i, j] = min(np.linalg.norm(u - sign * v) for sign in signs) / longer
    return found


@pytest.mark.parametrize("name", ["relu", "tanh", "g"])
def test_distances_are_those_of_the_definition(name, monkeypatch):
    monkeypatch.setattr(clustering, "BLOCK_VALUES", 40)  # three rows at a time
    vectors, symmetry = points(11), SYMMETRIES[name]
    expected = naive(vectors, symmetry)
    np.testing.assert_allclose(clustering.square_distances(vectors, symmetry), expected, atol=1e-7)
    flat = clustering.condensed_distances(vectors, symmetry)
    np.testing.assert_allclose(flat, distance.squareform(expected, checks=False), atol=1e-7)


def test_near_duplicates_are_told_apart():
    first = points(1, dims=785)
    pair = torch.cat([first, first + 1e-6])
    expected = (pair[0] - pair[1]).norm() / pair.norm(dim=1).max()
    assert clustering.condensed_distances(pair, NONE)[0] == pytest.approx(float(expected), rel=1e-2)


def test_what_has_no_length_is_far_from_everything():
    vectors = torch.cat([torch.zeros(2, 3), points(1)])
    for name in ("relu", "tanh"):
        assert clustering.condensed_distances(vectors, SYMMETRIES[name]).tolist() == [2, 2, 2]


def test_angles_are_those_between_lines_where_the_sign_is_open():
    vectors = torch.tensor([[1.0, 0.0], [1.0, 1.0], [-3.0, 0.0], [0.0, 2.0]])
    closed = clustering.angles(vectors, NONE) / torch.pi * 4
    opened = clustering.angles(vectors, SYMMETRIES["tanh"]) / torch.pi * 4
    assert closed[0].tolist() == pytest.approx([0, 1, 4, 2])
    assert opened[0].tolist() == pytest.approx([0, 1, 0, 2])
    assert clustering.angle_distance(torch.pi / 2) == pytest.approx(2**0.5)


@pytest.mark.parametrize("min_size", [2, 2.5, 5, 40])
def test_one_pass_counts_what_fcluster_counts_at_every_merge(min_size):
    tree = clustering.grow_tree(points(40), SYMMETRIES["tanh"], limit=2)
    ((_, linkage),) = tree.parts
    alone = clustering.count_large(tree, range(40), min_size)  # a student a unit: sizes count
    owners = np.arange(40) % 7
    shared = clustering.count_large(tree, owners.tolist(), min_size)
    for place, height in enumerate(alone.heights):
        labels = hierarchy.fcluster(linkage, height, "distance")
        members = [owners[labels == label] for label in set(labels)]
        assert alone.large[place] == sum(len(each) >= min_size for each in members)
        assert shared.large[place] == sum(len(set(each)) >= min_size for each in members)


def test_the_way_of_many_units_finds_what_all_distances_find():
    centres = points(12, seed=3, dims=5)
    vectors = centres.repeat(8, 1) + 0.05 * points(96, seed=4, dims=5)
    for name in ("relu", "g"):
        whole = clustering.grow_tree(vectors, SYMMETRIES[name], limit=0.3)
        parted = clustering.grow_tree(vectors, SYMMETRIES[name], limit=0.3, most_at_once=30)
        assert len(whole.parts) == 1 < len(parted.parts)
        for min_size in (2, 4):
            some, rest = (clustering.count_large(t, range(96), min_size) for t in (parted, whole))
            low = rest.heights < 0.3
            np.testing.assert_allclose(some.heights[some.heights < 0.3], rest.heights[low])
            assert (some.large[some.heights < 0.3] == rest.large[low]).all()
        first, second = whole.labels(0.25), parted.labels(0.25)
        assert len(set(first)) == len(set(second)) == len(set(zip(first, second, strict=True)))


def test_too_many_neighbours_are_refused():
    with pytest.raises(ValueError, match="^extraction.beta: 9 of 9 units are neighbours"):
        clustering.grow_tree(torch.ones(9, 2), NONE, limit=0.1, most_at_once=8)


def counts(*pairs):
    heights, large = zip(*pairs, strict=True)
    return clustering.Counts(np.array(heights), np.array(large))


def test_the_cut_is_before_strays_join_and_not_at_the_end_of_the_plateau():
    found = clustering.choose_cut(
        counts((1e-4, 0), (2e-4, 1), (3e-4, 2), (0.1, 2), (0.15, 2), (0.2, 1)), limit=0.5
    )
    assert (found.num_large, found.plateau) == (2, (3e-4, 0.2))
    assert found.height == pytest.approx((3e-4 * 0.1) ** 0.5)


def test_a_number_of_clusters_has_to_last():
    duplicates = [(1e-5, 1), (1.1e-5, 4), (1.3e-5, 2)]  # two clusters are four for a moment
    strays = [(0.3, 3), (0.35, 1)]
    found = clustering.choose_cut(counts(*duplicates, *strays), limit=0.5)
    assert (found.num_large, found.plateau) == (2, (1.3e-5, 0.3))
    found = clustering.choose_cut(counts((1e-6, 1), (1e-2, 2), (0.05, 0)), limit=0.5)
    assert found.num_large == 2  # fivefold is enough, whatever lasts longer


def test_the_cut_stays_below_the_limit_and_equal_heights_stay_together():
    found = clustering.choose_cut(counts((0.1, 1), (0.1, 2), (0.1, 1), (0.6, 2)), limit=0.4)
    assert (found.num_large, found.plateau) == (1, (0.1, 0.4))
    assert found.height == pytest.approx(0.2)
    for nothing in (counts((0.1, 0), (0.6, 3)), clustering.Counts(np.empty(0), np.empty(0, int))):
        with pytest.raises(ValueError, match="^no cluster found$"):
            clustering.choose_cut(nothing, limit=0.4)


def test_heights_that_rounding_makes_are_not_told_apart():
    found = clustering.choose_cut(counts((0.0, 4), (1e-12, 2), (1e-9, 1), (1e-3, 1)), limit=0.4)
    assert found.num_large == 1


def naive_cut(counts, limit):
    """The documented rule, plateau by plateau and gap by gap."""
    steps = {}  # height: number after the last merge at it
    for height, large in zip(counts.heights.tolist(), counts.large.tolist(), strict=True):
        if height < limit:
            steps[height] = large
    heights = [*sorted(steps), limit]
    plateaus: list[list[int]] = []
    for place, height in enumerate(heights[:-1]):
        if plateaus and steps[heights[plateaus[-1][-1]]] == steps[height]:
            plateaus[-1].append(place)
        else:
            plateaus.append([place])
    best, best_score = plateaus[0], -1.0
    for each in plateaus:
        growth = np.log(heights[each[-1] + 1] / heights[each[0]]) / np.log(4)
        score = steps[heights[each[0]]] * min(growth, 1)
        if score > best_score:
            best, best_score = each, score
    ratios = [heights[place + 1] / heights[place] for place in best]
    gap = best[int(np.argmax(ratios))]
    return (
        (heights[gap] * heights[gap + 1]) ** 0.5,
        (heights[best[0]], heights[best[-1] + 1]),
        steps[heights[gap]],
    )


@pytest.mark.parametrize("seed", range(30))
def test_the_cut_is_that_of_the_rule_read_word_by_word(seed):
    random = np.random.default_rng(seed)
    heights = np.sort(10.0 ** random.uniform(-5, 0.3, size=40))
    heights[10:13] = heights[10]  # equal heights
    large = np.maximum(0, np.cumsum(random.integers(-1, 2, size=40)) + 2)
    random_counts, limit = clustering.Counts(heights, large), random.uniform(0.05, 2)
    cut = clustering.choose_cut(random_counts, limit)
    height, plateau, num_large = naive_cut(random_counts, limit)
    assert cut.height == pytest.approx(height)
    assert cut.plateau == pytest.approx(plateau)
    assert cut.num_large == num_large


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", ["relu", "tanh", "g"])
def test_as_many_clusters_are_large_at_the_cut_as_it_says(name, seed):
    centres = points(6, seed, dims=4)
    vectors = centres.repeat(5, 1) + 10.0 ** (-seed) / 5 * points(30, seed + 50, dims=4)
    owners = np.repeat(np.arange(5), 6)
    tree = clustering.grow_tree(vectors, SYMMETRIES[name], limit=0.5)
    cut = clustering.choose_cut(clustering.count_large(tree, owners.tolist(), 3), limit=0.5)
    condensed = distance.squareform(naive(vectors, SYMMETRIES[name]), checks=False)
    linkage = hierarchy.linkage(condensed, "average")
    for height in np.geomspace(*cut.plateau, 12)[1:-1].tolist() + [cut.height]:
        labels = hierarchy.fcluster(linkage, height, "distance")
        large = [set(owners[labels == label]) for label in set(labels)]
        assert sum(len(students) >= 3 for students in large) == cut.num_large
    assert cut.plateau[0] < cut.height < cut.plateau[1] <= 0.5


def as_sets(labels):
    """A partition, whatever the numbers of its sets."""
    flat = labels.flatten().tolist()
    return {frozenset(np.flatnonzero(np.equal(flat, label)).tolist()) for label in set(flat)}


@pytest.mark.parametrize("name", ["relu", "tanh", "g"])
@pytest.mark.parametrize("seed", range(3))
def test_sets_of_neighbours_are_the_clusters_of_single_linkage(name, seed, monkeypatch):
    monkeypatch.setattr(clustering, "BLOCK_VALUES", 150)  # three rows at a time
    vectors, reach = points(50, seed), 0.25
    condensed = distance.squareform(naive(vectors, SYMMETRIES[name]), checks=False)
    labels = hierarchy.fcluster(hierarchy.linkage(condensed, "single"), reach, "distance")
    sets = clustering.neighbourhoods(vectors, SYMMETRIES[name], reach)
    assert 1 < len(sets) < 50
    assert {frozenset(units.tolist()) for units in sets} == as_sets(labels)


@pytest.mark.parametrize("most_at_once", [100, 15])
@pytest.mark.parametrize("name", ["relu", "tanh", "g"])
def test_labels_are_those_of_fcluster_on_all_distances(name, most_at_once):
    vectors = points(10, seed=3, dims=5).repeat(6, 1) + 0.05 * points(60, seed=4, dims=5)
    tree = clustering.grow_tree(vectors, SYMMETRIES[name], 0.3, most_at_once)
    condensed = distance.squareform(naive(vectors, SYMMETRIES[name]), checks=False)
    linkage = hierarchy.linkage(condensed, "average")
    for height in (0.01, 0.05, 0.1, 0.29):
        expected = hierarchy.fcluster(linkage, height, "distance")
        labels = tree.labels(height)
        assert as_sets(labels) == as_sets(expected)
        assert sorted(set(labels.tolist())) == list(range(len(set(expected))))


@pytest.mark.parametrize("sign", [None, "odd"])
def test_angles_are_arc_cosines_of_scipys_cosine_distances(sign):
    for seed in range(3):
        vectors = points(12, seed, dims=4)
        cosines = 1 - distance.squareform(distance.pdist(vectors.numpy(), "cosine"))
        expected = np.arccos(np.clip(np.abs(cosines) if sign else cosines, -1, 1))
        found = clustering.angles(vectors, Symmetry(sign))
        np.testing.assert_allclose(found, expected, atol=1e-7)
        np.testing.assert_allclose(clustering.angles(5 * vectors, Symmetry(sign)), found)


def test_a_vector_of_length_zero_is_at_a_right_angle_to_all():
    vectors = torch.cat([torch.zeros(1, 3), points(3)])
    for symmetry in (NONE, SYMMETRIES["tanh"]):
        assert clustering.angles(vectors, symmetry)[0].tolist() == pytest.approx([torch.pi / 2] * 4)


@pytest.mark.parametrize("angle", [1e-6, 0.1, 1.0, torch.pi])
def test_the_distance_of_an_angle_is_that_of_two_vectors_at_it(angle):
    angle = float(angle)
    pair = torch.tensor([[1.0, 0.0], [np.cos(angle), np.sin(angle)]], dtype=torch.float64) * 3
    expected = float((pair[0] - pair[1]).norm() / 3)
    assert clustering.angle_distance(angle) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("seed", range(10))
def test_signs_are_those_of_the_leading_eigenvector_of_the_moments(seed):
    vectors = points(9, seed, dims=4)
    unit = vectors.numpy() / np.linalg.norm(vectors, axis=1, keepdims=True)
    leading = np.linalg.eigh(unit.T @ unit)[1][:, -1]
    leading *= np.sign(leading[np.abs(leading).argmax()])
    found = clustering.orient_signs(vectors)
    assert found.tolist() == np.sign(unit @ leading).tolist()
    signs = 1 - 2 * torch.randint(2, (9, 1), generator=torch.Generator().manual_seed(seed))
    lengths = torch.linspace(0.1, 9, 9).unsqueeze(1)
    changed = clustering.orient_signs(signs * lengths * vectors)
    assert changed.equal(found * signs.squeeze(1))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("num_students", [4, 5])
@pytest.mark.parametrize("name", ["relu", "tanh", "g"])
def test_clusters_are_those_of_scipy_cut_at_the_same_height(name, num_students, seed):
    symmetry, width = SYMMETRIES[name], 6
    vectors = points(4, seed, dims=6).repeat(num_students, 1).view(num_students, 4, 6)
    vectors = vectors + 0.05 * points(num_students * 4, seed + 20, 6).view_as(vectors)
    strays = points(num_students * 2, seed + 40, 6).view(num_students, 2, 6)
    vectors = torch.cat([vectors, strays], dim=1)
    active = torch.ones(num_students, width, dtype=torch.bool)
    found = clustering.cluster_units(vectors, active, symmetry, gamma=0.6, beta=BETA)
    flat, owners = vectors.flatten(0, 1), np.repeat(np.arange(num_students), width)
    condensed = distance.squareform(naive(flat, symmetry), checks=False)
    linkage = hierarchy.linkage(condensed, "average")
    labels = hierarchy.fcluster(linkage, found.cut.height, "distance")
    expected = {}
    for label in set(labels):
        (units,) = np.nonzero(labels == label)
        cosines = 1 - distance.pdist(flat[units].numpy(), "cosine")
        arcs = np.arccos(np.clip(abs(cosines) if symmetry.sign else cosines, -1, 1))
        students = len(set(owners[units]))
        if len(units) > 1 and students >= 0.6 * num_students and np.median(arcs) <= BETA:
            expected[frozenset(units.tolist())] = (len(units), students, np.median(arcs))
    assert len(expected) >= 4
    assert found.num_kept == len(expected)
    for number, cluster in enumerate(found.large[: found.num_kept]):
        units = frozenset((found.labels.flatten() == number).nonzero().flatten().tolist())
        size, students, angle = expected[units]
        assert (cluster.size, cluster.num_students, cluster.kept) == (size, students, True)
        assert cluster.angle == pytest.approx(angle, abs=1e-7)
    assert int((found.labels >= 0).sum()) == sum(len(units) for units in expected)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", ["relu", "tanh", "gelu", "g"])
def test_neither_order_nor_sign_nor_length_of_units_changes_clusters(name, seed):
    symmetry, generator = SYMMETRIES[name], torch.Generator().manual_seed(seed)
    vectors = agreeing(noise=0.02, seed=seed)[0]
    if symmetry.sign is None:
        vectors = agreeing(noise=0.02, seed=seed)[1].new_ones(4, 3, 1) * vectors.abs()
    found = clustering.cluster_units(vectors, ALL, symmetry, gamma=0.75, beta=BETA)
    order, students = torch.randperm(3, generator=generator), torch.tensor([2, 0, 3, 1])
    signs = torch.ones(4, 3, 1, dtype=torch.float64)
    if symmetry.sign is not None:
        signs -= 2 * torch.randint(2, (4, 3, 1), generator=generator)
    lengths = torch.rand(4, 3, 1, generator=generator) + 0.5 if symmetry.scales else 1.0
    other = clustering.cluster_units(
        (signs * lengths * vectors)[students][:, order], ALL, symmetry, gamma=0.75, beta=BETA
    )
    assert other.cut.height == pytest.approx(found.cut.height, rel=1e-5)
    assert as_sets(other.labels) == as_sets(found.labels[students][:, order])
    expected = (found.signs * signs.squeeze(2))[students][:, order]
    kept = other.labels >= 0
    assert other.signs[kept].equal(expected[kept])


@pytest.mark.parametrize(("beta", "num_kept"), [(30.0, 0), (32.0, 1)])
def test_a_large_cluster_is_kept_up_to_a_median_angle(beta, num_kept):
    # Units at an angle t of lengths 1 and cos(t) are sin(t) apart, less than units of one length.
    angle = np.deg2rad(31.0)
    pair = [[1.0, 0.0], [np.cos(angle) ** 2, np.cos(angle) * np.sin(angle)]]
    vectors = torch.tensor(pair, dtype=torch.float64).unsqueeze(1)  # one unit for each student
    assert np.sin(angle) < clustering.angle_distance(np.deg2rad(30.0))
    arguments = vectors, torch.ones(2, 1, dtype=torch.bool), SYMMETRIES["tanh"], 1.0
    if num_kept == 0:
        with pytest.raises(ValueError, match="^no cluster found$"):
            clustering.cluster_units(*arguments, np.deg2rad(beta))
    else:
        found = clustering.cluster_units(*arguments, np.deg2rad(beta))
        assert found.num_kept == 1 and found.large[0].angle == pytest.approx(angle)
