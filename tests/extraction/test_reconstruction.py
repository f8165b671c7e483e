from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch

from isthmus.extraction import clustering as extraction_clustering
from isthmus.extraction import reconstruction
from isthmus.extraction.reconstruction import (
    ReconstructionRules,
    average_output_layer,
    collapse_clusters,
)
from isthmus.extraction.stacks import SYMMETRIES, Stack, StackLayer, rewrite_units
from tests.extraction.made import INPUTS, random_stack, students_of

RULES = ReconstructionRules(gamma=0.5, beta=torch.pi / 6)


@pytest.mark.parametrize("name", SYMMETRIES)
@pytest.mark.parametrize("widths", [[4], [4, 3], [3, 2, 3]])
def test_a_known_teacher_is_recovered(name, widths):
    teacher = random_stack(name, [3, *widths, 2], num_students=1, seed=5)
    students = students_of(teacher, num_students=6)
    targets = teacher.outputs([INPUTS])[0]
    outputs = students.outputs([INPUTS])
    torch.testing.assert_close(outputs, targets.expand_as(outputs), atol=1e-2, rtol=1e-2)
    found, levels = reconstruction.reconstruct(students, INPUTS, targets, [0.1] * 6, RULES)
    assert found.widths == teacher.widths
    folded = reconstruction.fold_signs(found, INPUTS)
    torch.testing.assert_close(found.outputs([INPUTS])[0], targets, atol=3e-3, rtol=1e-3)
    found = folded.network
    print(name, widths, folded.left, float((found.outputs([INPUTS])[0] - targets).abs().max()))
    assert [len(layer.blocks) for layer in found.layers] == [1] * len(found.layers)
    torch.testing.assert_close(found.outputs([INPUTS])[0], targets, atol=3e-3, rtol=1e-3)


EVEN_LINEAR = ["relu", "leaky_relu", "gelu", "silu", "softplus"]


def turned(name, widths=(4, 3), seed=0):
    """A network, and the same with some signs changed, from the last layer down."""
    network = random_stack(name, [3, *widths, 2], 1, seed)
    other = network
    for number in reversed(range(len(widths))):
        signs = torch.ones(1, widths[number]).double()
        signs[0, ::2] = -1
        other = rewrite_units(other, number, signs, torch.ones_like(signs))
    return network, other


@pytest.mark.parametrize("name", EVEN_LINEAR)
@pytest.mark.parametrize("widths", [(4,), (4, 3), (3, 4, 2)])
def test_paths_around_layers_are_folded_into_signs(name, widths):
    network, other = turned(name, widths)
    assert all(len(layer.blocks) > 1 for layer in other.layers[1:])
    folded = reconstruction.fold_signs(other, INPUTS)
    assert folded.left == (0.0,) * len(widths)
    for one, two in zip(folded.network.tensors(), network.tensors(), strict=True):
        torch.testing.assert_close(one, two)


def test_a_path_that_no_signs_explain_stays():
    _, other = turned("gelu")
    first, last = other.layers[1], other.layers[2]
    odd = random_stack("gelu", [3, 3, 2], 1, seed=9).layers[0].blocks[0]
    other = other.with_layer(1, StackLayer((first.blocks[0], first.blocks[1] + odd), first.bias))
    folded = reconstruction.fold_signs(other, INPUTS)
    torch.testing.assert_close(folded.network.outputs([INPUTS]), other.outputs([INPUTS]))
    assert folded.left[0] == pytest.approx(reconstruction.share_of_path(folded.network, 0, INPUTS))
    assert folded.left[0] > reconstruction.NEGLIGIBLE
    assert (
        len(last.blocks) == 3
        and reconstruction.share_of_path(random_stack("gelu", [3, 4, 2], 1), 0, INPUTS) == 0
    )


def test_the_share_of_a_path_is_that_of_the_variance():
    network = random_stack("gelu", [3, 4, 2], 1)
    reader, path = network.layers[1], torch.randn(1, 2, 3, dtype=torch.float64)
    network = network.with_layer(1, StackLayer((reader.blocks[0], path), reader.bias))
    ours = (INPUTS @ path[0].T).var(dim=0).sum()
    whole = network.outputs([INPUTS])[0].var(dim=0).sum()
    assert reconstruction.share_of_path(network, 0, INPUTS) == pytest.approx(float(ours / whole))


@pytest.mark.parametrize(("name", "blocks"), [("softplus", 2), ("tanh", 1)])
def test_least_squares_finds_the_path_or_the_bias(name, blocks, monkeypatch):
    monkeypatch.setattr(reconstruction, "ROWS", 7)
    stack = random_stack(name, [3, 4, 2], 2)
    sources = stack.take([0]).sources([INPUTS], 1)
    sources = [INPUTS, sources[1][0]]
    upper = random_stack(name, [4, 2], 2, seed=3)
    path = torch.randn(2, 2, 3, generator=torch.Generator().manual_seed(2)).double()
    added = INPUTS @ path.transpose(1, 2) if blocks == 2 else torch.zeros(2, 1, 1)
    targets = list(upper.outputs(sources) + added + torch.tensor([5.0, -7.0]))
    found = reconstruction.fit_affine_layer(upper, sources, targets).layers[0]
    assert len(found.blocks) == blocks
    assert found.blocks[0].equal(upper.layers[0].blocks[0])
    torch.testing.assert_close(
        found.bias, upper.layers[0].bias + torch.tensor([5.0, -7.0]).double()
    )
    if blocks == 2:
        torch.testing.assert_close(found.blocks[1], path)
        again = reconstruction.fit_affine_layer(
            upper.with_layer(0, found), sources, targets
        ).layers[0]
        torch.testing.assert_close(again.blocks[1], path)


def test_inputs_that_never_change_get_no_weight():
    inputs = torch.cat([INPUTS, torch.full((len(INPUTS), 2), 3.0)], dim=1)
    sources = [inputs, INPUTS]
    upper = random_stack("relu", [3, 2], 1)
    targets = list(upper.outputs(sources) + INPUTS[:, :1])
    found = reconstruction.fit_affine_layer(upper, sources, targets).layers[0]
    expected = torch.tensor([[1.0, 0, 0], [1.0, 0, 0]]).double()
    torch.testing.assert_close(found.blocks[1][0, :, :3], expected)
    assert found.blocks[1][0, :, 3:].abs().max() < 1e-6  # of least norm, the bias is elsewhere


BETA = torch.pi / 6


def collapsed(name, losses=(0.3, 0.1, 0.2, 0.4)):
    teacher = random_stack(name, [3, 3, 2], 1, seed=5)
    students = students_of(teacher, 4, noise=1e-9)
    heard = reconstruction.is_active(students, [INPUTS])
    vectors = students.layers[0].vectors()
    clustering = extraction_clustering.cluster_units(vectors, heard, students.symmetry, 1.0, BETA)
    return students, collapse_clusters(students, clustering, losses)


def test_each_unit_is_the_best_students_and_what_was_split_is_summed():
    for name in ("tanh", "sigmoid", "g"):
        students, found = collapsed(name)
        assert found.winners == (1, 1, 1)
        below = [INPUTS, students.sources([INPUTS], 1)[-1]]
        assert found.common.bias.shape == (1, 3)
        made = reconstruction._extend_sources(found.common, found.upper, [INPUTS])
        outputs = found.upper.outputs(made)
        torch.testing.assert_close(
            outputs, students.layers[1].pre_activations(below), atol=1e-6, rtol=0
        )


def test_a_unit_that_the_best_student_lacks_is_anothers():
    teacher = random_stack("tanh", [3, 3, 2], 1, seed=5)
    students = students_of(teacher, 4, noise=1e-9)
    heard = reconstruction.is_active(students, [INPUTS])
    vectors = students.layers[0].vectors().clone()
    clustering = extraction_clustering.cluster_units(vectors, heard, students.symmetry, 1.0, BETA)
    lost = clustering.labels[1] == 2
    clustering.labels[1, lost] = -1
    found = collapse_clusters(students, clustering, (0.3, 0.1, 0.2, 0.4))
    assert found.winners == (1, 1, 2)
    output = average_output_layer(found.upper, found.winners, (0.3, 0.1, 0.2, 0.4))
    whole = found.upper.layers[0].blocks[0]
    assert (
        output.layers[0]
        .blocks[0][0]
        .equal(torch.stack([whole[1, :, 0], whole[1, :, 1], whole[2, :, 2]], dim=1))
    )
    assert output.layers[0].bias.equal(found.upper.layers[0].bias[1:2])


def draw(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", ["relu", "softplus", "tanh", "g"])
def test_the_affine_part_is_that_of_numpys_least_squares(name, seed):
    first, middle = draw(60, 4, seed=seed), draw(60, 3, seed=seed + 10)
    first[:, 3] = first[:, 0] - 2 * first[:, 1] + 1  # so the solution of least norm is to be found
    sources, targets = [first, middle, draw(60, 5, seed=seed + 20)], draw(3, 60, 2, seed=seed + 30)
    blocks = [draw(3, 2, width, seed=seed + width) for width in (5, 3)]
    bias = draw(3, 2, seed=seed + 40)
    upper = Stack((StackLayer(tuple(blocks), bias),), name)
    has_path = upper.symmetry.sign == "even_linear"
    fitted = reconstruction.fit_affine_layer(upper, sources, list(targets)).layers[0]
    known = np.hstack([middle, first, np.ones((60, 1))] if has_path else [np.ones((60, 1))])
    for student in range(3):
        old = [block[student].numpy() for block in blocks]
        values = sources[2].numpy() @ old[0].T + middle.numpy() @ old[1].T + bias[student].numpy()
        path = np.linalg.lstsq(known, targets[student].numpy() - values, rcond=1e-9)[0].T
        np.testing.assert_allclose(
            fitted.bias[student], bias[student].numpy() + path[:, -1], atol=1e-7
        )
        np.testing.assert_array_equal(fitted.blocks[0][student], old[0])
        if has_path:
            np.testing.assert_allclose(fitted.blocks[1][student], old[1] + path[:, :3], atol=1e-7)
            np.testing.assert_allclose(fitted.blocks[2][student], path[:, 3:7], atol=1e-7)
        else:
            np.testing.assert_array_equal(fitted.blocks[1][student], old[1])
    assert len(fitted.blocks) == (3 if has_path else 2)


def turn(network, number, signs):
    signs = torch.tensor([signs], dtype=torch.float64)
    return rewrite_units(network, number, signs, torch.ones_like(signs))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", ["relu", "gelu"])
def test_folded_signs_leave_the_least_path_of_all_signs(name, seed):
    network = random_stack(name, [3, 4, 3, 2], 1, seed)
    signs = (1 - 2 * torch.randint(2, (4,), generator=torch.Generator().manual_seed(seed))).tolist()
    signs[seed] = -1
    other = turn(network, 0, signs)
    reader = other.layers[1]
    blocks = (reader.blocks[0], reader.blocks[1] + 0.01 * draw(1, 3, 3, seed=seed))
    other = other.with_layer(1, StackLayer(blocks, reader.bias))
    every = list(product([1, -1], repeat=4))
    shares = [reconstruction.share_of_path(turn(other, 0, each), 0, INPUTS) for each in every]
    assert min(shares) < reconstruction.NEGLIGIBLE
    best = turn(other, 0, every[int(np.argmin(shares))])
    folding = reconstruction.fold_signs(other, INPUTS)
    torch.testing.assert_close(folding.network.layers[0].vectors(), best.layers[0].vectors())
    assert len(folding.network.layers[1].blocks) == 1
    # What is left out is centred: the mean over the inputs of what the next layer reads stays.
    means = [
        each.layers[1].pre_activations(each.sources([INPUTS], 1)).mean(dim=1)
        for each in (folding.network, other)
    ]
    torch.testing.assert_close(*means)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", ["relu", "silu", "softplus"])
def test_the_share_of_a_path_is_that_of_numpys_variances(name, seed):
    network = turn(random_stack(name, [3, 4, 3, 2], 1, seed), 0, [1, -1, 1, -1])
    network = turn(network, 1, [-1, 1, -1])
    read = [source.squeeze(0).numpy() for source in network.sources([INPUTS], 2)]
    assert [len(layer.blocks) for layer in network.layers] == [1, 2, 3]
    for number in (0, 1):
        reader = network.layers[number + 1]
        parts = [
            source @ block[0].numpy().T
            for block, source in zip(reader.blocks, reversed(read[: number + 2]), strict=True)
        ]
        path, whole = np.sum(parts[1:], axis=0), np.sum(parts, axis=0)
        expected = path.var(axis=0).sum() / whole.var(axis=0).sum()
        share = reconstruction.share_of_path(network, number, INPUTS)
        assert share == pytest.approx(expected) and share > 0


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", SYMMETRIES)
def test_students_that_share_units_compute_the_same_after_their_collapse(name, seed):
    teacher = random_stack(name, [3, 4, 3, 2], 1, seed)
    students = students_of(teacher, 4, noise=0, seed=seed)
    outputs = students.outputs([INPUTS])
    active = reconstruction.is_active(students, [INPUTS])
    clusters = extraction_clustering.cluster_units(
        students.layers[0].vectors(), active, students.symmetry, 1.0, BETA
    )
    result = collapse_clusters(students, clusters, [0.4, 0.2, 0.1, 0.3])
    assert result.common.bias.shape == (1, 4) and result.winners == (2, 2, 2, 2)
    sources = reconstruction._extend_sources(result.common, result.upper, [INPUTS])
    torch.testing.assert_close(result.upper.outputs(sources), outputs)


NO_TREE = extraction_clustering.LinkageTree((), 0, 0.0)
EMPTY = extraction_clustering.Clustering(
    active=torch.empty(0),
    tree=NO_TREE,
    counts=extraction_clustering.Counts(np.empty(0), np.empty(0)),
    cut=extraction_clustering.Cut(0.0, (0.0, 0.0), 0),
    large=(),
    labels=torch.empty(0),
    signs=torch.empty(0),
)


@pytest.mark.parametrize("seed", range(4))
def test_a_collapse_is_that_of_a_loop_over_clusters_and_students(seed):
    random = np.random.default_rng(seed)
    stack, losses = random_stack("g", [3, 6, 2], 4, seed), random.permutation(4).tolist()
    labels = torch.from_numpy(random.integers(-1, 3, size=(4, 6)))
    labels[0, :3] = torch.tensor([0, 1, 2])  # so that no cluster is empty
    cluster = extraction_clustering.Cluster(4, 4, 0.0, kept=True)
    clusters = replace(EMPTY, large=(cluster,) * 3, labels=labels, signs=torch.ones(4, 6).double())
    result = collapse_clusters(stack, clusters, losses)
    weights, reading = stack.layers[0].vectors().numpy(), stack.layers[1].blocks[0].numpy()
    for number in range(3):
        owners = [n for n in range(4) if (labels[n] == number).any()]
        winner = min(owners, key=lambda n: losses[n])
        units = [unit for unit in range(6) if labels[winner, unit] == number]
        assert result.winners[number] == winner
        mean = np.mean([weights[winner, unit] for unit in units], axis=0)
        np.testing.assert_allclose(result.common.vectors()[0, number], mean)
        for student in range(4):
            total = sum(
                (reading[student, :, unit] for unit in range(6) if labels[student, unit] == number),
                np.zeros(2),
            )
            np.testing.assert_allclose(result.upper.layers[0].blocks[0][student, :, number], total)
    output = average_output_layer(result.upper, result.winners, losses).layers[0]
    for number, winner in enumerate(result.winners):
        assert output.blocks[0][0, :, number].equal(
            result.upper.layers[0].blocks[0][winner, :, number]
        )
    assert output.bias[0].equal(stack.layers[1].bias[int(np.argmin(losses))])


@pytest.mark.parametrize("name", ["relu", "tanh", "g"])
@pytest.mark.parametrize("seed", range(3))
def test_neither_rewriting_nor_order_of_students_changes_a_reconstruction(name, seed):
    teacher = random_stack(name, [3, 3, 3, 2], 1, seed=5)
    students = students_of(teacher, 5, seed=seed)
    targets = teacher.outputs([INPUTS])[0]
    losses, order = [0.5, 0.1, 0.3, 0.2, 0.4], [3, 0, 4, 1, 2]
    network, _ = reconstruction.reconstruct(students, INPUTS, targets, losses, RULES)
    other = students.take(order)
    for number in (1, 0):
        shape, symmetry = other.layers[number].bias.shape, other.symmetry
        signs, scales = torch.ones(shape).double(), torch.ones(shape).double()
        if symmetry.sign == "odd":
            signs = torch.where(draw(*shape, seed=seed) < 0, -1.0, 1.0).double()
        if symmetry.scales:
            scales = 0.5 + draw(*shape, seed=seed + 1).abs()
        other = rewrite_units(other, number, signs, scales)
    again, _ = reconstruction.reconstruct(other, INPUTS, targets, [losses[n] for n in order], RULES)
    torch.testing.assert_close(again.outputs([INPUTS]), network.outputs([INPUTS]))


@pytest.mark.parametrize("seed", range(3))
def test_vectors_of_kept_inputs_give_the_same_mean_of_what_a_unit_reads(seed):
    layer, kept = random_stack("g", [5, 4, 2], 2, seed).layers[0], torch.arange(5) % 2 == 0
    inputs = draw(50, 5, seed=seed) + 3
    vectors = reconstruction.comparison_vectors(layer, inputs, kept)
    assert vectors.shape == (2, 4, 4)
    assert vectors[:, :, :3].equal(layer.blocks[0][:, :, [0, 2, 4]])
    reads = inputs[:, kept] @ vectors[:, :, :3].transpose(1, 2) + vectors[:, :, 3].unsqueeze(1)
    whole = layer.pre_activations([inputs])
    torch.testing.assert_close(reads.mean(dim=1), whole.mean(dim=1))
    inputs[:, ~kept] = 7.0  # inputs that never change are a part of the bias
    vectors = reconstruction.comparison_vectors(layer, inputs, kept)
    reads = inputs[:, kept] @ vectors[:, :, :3].transpose(1, 2) + vectors[:, :, 3].unsqueeze(1)
    torch.testing.assert_close(reads, layer.pre_activations([inputs]))
    assert reconstruction.comparison_vectors(layer, inputs, None).equal(layer.vectors())
    every = torch.ones(5, dtype=torch.bool)
    assert reconstruction.comparison_vectors(layer, inputs, every).equal(layer.vectors())


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", ["relu", "tanh", "g"])
def test_active_units_are_those_that_a_loop_finds_to_change_the_next_layer(name, seed):
    stack = random_stack(name, [3, 8, 2], 3, seed)
    small = 10.0 ** -torch.arange(8.0).double().roll(seed)  # of what is read from each unit
    reader = stack.layers[1]
    stack = stack.with_layer(1, StackLayer((reader.blocks[0] * small,), reader.bias))
    units = stack.sources([INPUTS], 1)[-1].numpy()
    active = reconstruction.is_active(stack, [INPUTS])
    for student in range(3):
        reads = units[student] @ stack.layers[1].blocks[0][student].numpy().T
        for unit in range(8):
            without = reads - np.outer(
                units[student, :, unit], stack.layers[1].blocks[0][student, :, unit]
            )
            change = (reads - without).var(axis=0).sum()
            heard = change > reconstruction.SILENT * reads.var(axis=0).sum()
            assert bool(active[student, unit]) == heard
    assert 0 < active.sum() < active.numel()
