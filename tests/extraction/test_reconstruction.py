import pytest
import torch

from isthmus.extraction import clustering as extraction_clustering
from isthmus.extraction import reconstruction
from isthmus.extraction.reconstruction import (
    ReconstructionRules,
    average_output_layer,
    collapse_clusters,
)
from isthmus.extraction.stacks import SYMMETRIES, StackLayer, rewrite_units
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
