from itertools import permutations

import pytest
import torch
from scipy.spatial import distance

from isthmus.extraction import comparison, reconstruction
from isthmus.extraction.reconstruction import ReconstructionRules
from isthmus.extraction.stacks import SYMMETRIES, StackLayer, rewrite_units
from isthmus.models.mlp import MLP
from tests.extraction.made import INPUTS, random_stack, students_of

BETA = torch.pi / 6


def recovered(name, widths, num_students=8):
    teacher = random_stack(name, [3, *widths, 2], 1, seed=5)
    students = students_of(teacher, num_students)
    targets = teacher.outputs([INPUTS])[0]
    found, _ = reconstruction.reconstruct(
        students, INPUTS, targets, [0.1] * num_students, ReconstructionRules(0.5, BETA)
    )
    return teacher, reconstruction.fold_signs(found, INPUTS).network


def test_single_outgoing_weights_are_compared_by_their_relative_difference():
    ours, theirs = torch.tensor([[1.5], [-2.0], [1.0]]), torch.tensor([[1.0], [2.0], [0.0]])
    assert comparison.outgoing_distances(ours, theirs).tolist() == [0.5, 2.0, 1.0]
    pair = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 2.0]])
    assert comparison.outgoing_distances(*pair).tolist() == pytest.approx([1.0])


@pytest.mark.parametrize("name", SYMMETRIES)
@pytest.mark.parametrize("widths", [[4], [4, 3]])
def test_a_recovered_teacher_has_all_units_and_no_others(name, widths):
    teacher, found = recovered(name, widths)
    aligned = comparison.align_units(found, teacher, BETA, INPUTS)
    torch.testing.assert_close(aligned.reconstruction.outputs([INPUTS]), found.outputs([INPUTS]))
    torch.testing.assert_close(aligned.teacher.outputs([INPUTS]), teacher.outputs([INPUTS]))
    rows = comparison.teacher_rows(aligned, INPUTS, None)
    assert [row[:2] for row in rows] == [
        (k + 1, unit) for k, width in enumerate(widths) for unit in range(width)
    ]
    for row in rows:
        assert max(row[3:5]) < 1e-6
        assert row[5:] == (pytest.approx(1, abs=1e-3), pytest.approx(1, abs=1e-3))
    for summary, width in zip(
        comparison.summarize_layers(aligned, rows, INPUTS), widths, strict=True
    ):
        assert summary["num_teacher"] == summary["num_found"] == width
        assert summary["num_missing"] == summary["num_excess"] == 0
        assert summary["mse"] < 1e-6
    for one, other in zip(aligned.reconstruction.tensors(), teacher.tensors(), strict=True):
        torch.testing.assert_close(one, other, atol=2e-3, rtol=0)


def without(network, unit):
    """A network that lacks one unit of its first layer."""
    rest = [place for place in range(network.widths[0]) if place != unit]
    return comparison._reorder_units(network, 0, rest)


@pytest.mark.parametrize("widths", [[4], [4, 3]])
def test_missing_and_excess_units_are_told_and_both_networks_stay(widths):
    teacher = random_stack("relu", [3, *widths, 2], 1, seed=5)
    found = without(random_stack("relu", [3, *widths, 2], 1, seed=5), 1)
    for one, other, missing, excess in ((found, teacher, 1, 0), (teacher, found, 0, 1)):
        aligned = comparison.align_units(one, other, BETA, INPUTS)
        assert len(aligned.excess[0]) == excess
        assert aligned.partners[0].count(-1) == missing
        torch.testing.assert_close(aligned.reconstruction.outputs([INPUTS]), one.outputs([INPUTS]))
        torch.testing.assert_close(aligned.teacher.outputs([INPUTS]), other.outputs([INPUTS]))
        first = comparison.summarize_layers(
            aligned, comparison.teacher_rows(aligned, INPUTS, None), INPUTS
        )[0]
        assert (first["num_missing"], first["num_excess"]) == (missing, excess)
        told = comparison.excess_rows(aligned, INPUTS, None)
        assert [row[:2] for row in told if row[0] == 1] == [(1, 1)] * excess
        found_unit = [row[2] for row in comparison.teacher_rows(aligned, INPUTS, None)]
        assert (None in found_unit) == bool(missing)


def test_an_excess_unit_is_told_by_its_nearest_unit_of_the_teacher():
    teacher = without(random_stack("relu", [3, 4, 2], 1, seed=5), 1)
    found = random_stack("relu", [3, 4, 2], 1, seed=5)
    aligned = comparison.align_units(found, teacher, BETA, INPUTS)
    ((layer, unit, near, distance, length),) = comparison.excess_rows(aligned, INPUTS, None)
    vectors = torch.nn.functional.normalize(found.layers[0].vectors()[0], dim=1)
    cosines = (vectors[[0, 2, 3]] @ vectors[1]).abs()
    assert (layer, unit, near) == (1, 1, int(cosines.argmax()))
    assert distance == pytest.approx(1 - float(cosines.max()))
    # Lengths went into what goes out, the excess unit's stayed.
    outgoing = found.layers[1].blocks[0][0].norm(dim=0)
    assert length == pytest.approx(float(outgoing[1] / outgoing[[0, 2, 3]].mean()))


def test_the_line_ends_at_both_networks():
    teacher, found = recovered("gelu", [4, 3])
    other = random_stack("gelu", [3, 5, 2, 2], 1, seed=9)
    targets = teacher.outputs([INPUTS])[0]
    for network in (found, other):
        aligned = comparison.align_units(network, teacher, BETA, INPUTS)
        curve = comparison.error_curve(aligned, INPUTS, targets, torch.linspace(0, 1, 5), rows=100)
        error = (network.outputs([INPUTS])[0] - targets).square().mean()
        torch.testing.assert_close(curve[0], error)
        assert float(curve[-1]) < 1e-20


def test_small_cosine_distances_are_exact():
    one = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 0.0], [1.0, 0.0]], dtype=torch.float64)
    other = torch.tensor([[2.0, 2e-6], [-3.0, 0.0], [1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    found = comparison.cosine_distances(one, other).tolist()
    assert found == [pytest.approx(5e-13, rel=1e-6), 2, 1, pytest.approx(1)]


def test_cosine_distances_are_those_of_scipy():
    for seed in range(3):
        one, other = (random_stack("tanh", [5, 9, 1], 1, s).layers[0].blocks[0][0]
                      for s in (seed, seed + 9))  # fmt: skip
        expected = [distance.cosine(a, b) for a, b in zip(one.numpy(), other.numpy(), strict=True)]
        assert comparison.cosine_distances(one, other).tolist() == pytest.approx(expected)
        stretched = comparison.cosine_distances(3 * one, 0.1 * other)
        assert stretched.tolist() == pytest.approx(expected)


def unit_distance(one, other, symmetry):
    """Of two units by the definition: as directions, or as vectors over the longer length."""
    if symmetry.scales:
        one, other = one / one.norm(), other / other.norm()
    ends = (other, -other) if symmetry.sign else (other,)
    return min(float((one - end).norm() / max(one.norm(), other.norm())) for end in ends)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("widths", [(4, 4), (5, 3), (3, 5)])
@pytest.mark.parametrize("name", ["relu", "tanh", "g"])
def test_no_other_matching_has_a_smaller_sum_of_distances(name, widths, seed):
    found, teacher = (random_stack(name, [6, w, 2], 1, seed + k) for k, w in enumerate(widths))
    aligned = comparison.align_units(found, teacher, torch.pi, torch.randn(9, 6).double())
    costs = [
        [unit_distance(a, b, found.symmetry) for a in found.layers[0].vectors()[0]]
        for b in teacher.layers[0].vectors()[0]
    ]
    ours, theirs = widths
    if theirs <= ours:
        pairings = [list(enumerate(each)) for each in permutations(range(ours), theirs)]
    else:
        pairings = [list(zip(each, range(ours), strict=True))
                    for each in permutations(range(theirs), ours)]  # fmt: skip
    smallest = min(sum(costs[row][column] for row, column in each) for each in pairings)
    pairs = [(row, p) for row, p in enumerate(aligned.partners[0]) if p != comparison.NOBODY]
    assert len(pairs) == len({p for _, p in pairs}) == min(widths)
    assert sum(costs[row][column] for row, column in pairs) == pytest.approx(smallest)
    expected = set(range(ours)) - {p for _, p in pairs}
    assert set(aligned.excess[0]) == expected


def permuted(network, number, order):
    """The same network with units of a hidden layer in another order, by its definition."""
    layer, reader = network.layers[number], network.layers[number + 1]
    layer = StackLayer((layer.blocks[0][:, order],), layer.bias[:, order])
    reader = StackLayer((reader.blocks[0][:, :, order],), reader.bias)
    return network.with_layer(number, layer).with_layer(number + 1, reader)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", ["relu", "tanh", "sigmoid", "g"])
def test_a_rewritten_teacher_is_aligned_with_it_again(name, seed):
    teacher = random_stack(name, [3, 5, 4, 2], 1, seed)
    generator, network = torch.Generator().manual_seed(seed), teacher
    orders = []
    for number, width in enumerate((5, 4)):
        ones = torch.ones(1, width, dtype=torch.float64)
        odd = network.symmetry.sign == "odd"
        signs = 1 - 2 * torch.randint(2, (1, width), generator=generator).double() if odd else ones
        scales = torch.rand(1, width, generator=generator).double() + 0.5
        scales = scales if network.symmetry.scales else ones
        orders.append(torch.randperm(width, generator=generator))
        network = permuted(rewrite_units(network, number, signs, scales), number, orders[-1])
    aligned = comparison.align_units(network, teacher, BETA, INPUTS)
    assert aligned.partners == tuple(tuple(order.argsort().tolist()) for order in orders)
    assert aligned.excess == ((), ())
    for one, other in zip(aligned.reconstruction.tensors(), teacher.tensors(), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", SYMMETRIES)
def test_networks_that_have_nothing_in_common_compute_what_they_did(name, seed):
    found = random_stack(name, [3, 5, 2, 2], 1, seed)
    teacher = random_stack(name, [3, 3, 4, 2], 1, seed + 10)
    aligned = comparison.align_units(found, teacher, torch.pi / 4, INPUTS)
    assert aligned.reconstruction.widths == aligned.teacher.widths
    torch.testing.assert_close(aligned.reconstruction.outputs([INPUTS]), found.outputs([INPUTS]))
    torch.testing.assert_close(aligned.teacher.outputs([INPUTS]), teacher.outputs([INPUTS]))
    for partners, rest, ours, theirs in zip(
        aligned.partners, aligned.excess, found.widths, teacher.widths, strict=False
    ):
        matched = [unit for unit in partners if unit != comparison.NOBODY]
        assert len(partners) == theirs and sorted([*matched, *rest]) == list(range(ours))


def test_a_unit_without_weights_is_no_partner():
    teacher = random_stack("relu", [3, 3, 2], 1)
    layer = teacher.layers[0]
    keeps = torch.tensor([1.0, 0.0, 1.0]).double()
    dead = StackLayer((layer.blocks[0] * keeps.view(1, 3, 1),), layer.bias * keeps)
    pruned = teacher.with_layer(0, dead)
    for one, other in ((teacher, pruned), (pruned, teacher), (pruned, pruned)):
        aligned = comparison.align_units(one, other, torch.pi / 2, INPUTS)
        assert aligned.partners == ((0, -1, 2),) and aligned.excess == ((1,),)
        outputs = aligned.reconstruction.outputs([INPUTS])
        torch.testing.assert_close(outputs, one.outputs([INPUTS]))
    ((*_, distance_in, _),) = comparison.excess_rows(aligned, INPUTS, None)
    assert distance_in == pytest.approx(1)


@pytest.mark.parametrize("name", ["relu", "tanh", "g"])
@pytest.mark.parametrize("unit", range(4))
def test_weights_from_a_missing_unit_are_left_out(name, unit):
    teacher = random_stack(name, [3, 4, 3, 2], 1, seed=5)
    aligned = comparison.align_units(without(teacher, unit), teacher, BETA, INPUTS)
    rows = comparison.teacher_rows(aligned, INPUTS, None)
    matched = [row for row in rows if row[0] == 2 and row[2] is not None]
    assert matched  # a unit that reads most from the missing one is missing too
    for _, place, partner, *numbers in matched:
        assert partner == place
        assert numbers == [pytest.approx(value, abs=1e-12) for value in (0, 0, 1, 1)]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", ["gelu", "sigmoid"])
def test_the_error_at_each_point_is_that_of_the_module_with_mixed_weights(name, seed):
    found, teacher = (random_stack(name, [3, 4, 3, 2], 1, seed + k) for k in (0, 20))
    targets = teacher.outputs([INPUTS])[0]
    partners = ((*range(4),), (*range(3),))
    aligned = comparison.AlignedNetworks(found, teacher, partners, ((), ()))
    alphas = torch.tensor([0.0, 0.2, 0.5, 0.9, 1.0], dtype=torch.float64)
    expected = []
    for alpha in alphas.tolist():
        model = MLP((3,), 2, [4, 3], activation=name).double()
        ends = zip(found.tensors(), teacher.tensors(), strict=True)
        for parameter, (one, other) in zip(model.parameters(), ends, strict=True):
            parameter.data = (1 - alpha) * one[0] + alpha * other[0]
        expected.append(torch.nn.functional.mse_loss(model(INPUTS), targets).item())
    curve = comparison.error_curve(aligned, INPUTS, targets, alphas, rows=37)
    assert curve.tolist() == pytest.approx(expected)
    assert curve[0] > 0.1 and curve[-1] < 1e-20


@pytest.mark.parametrize("seed", range(3))
def test_rows_and_summaries_are_those_of_a_loop_over_pairs(seed):
    generator = torch.Generator().manual_seed(seed)
    teacher = random_stack("tanh", [3, 4, 3, 2], 1, seed)
    noisy = [
        t + 0.1 * torch.randn(t.shape, generator=generator).double() for t in teacher.tensors()
    ]
    found = permuted(teacher.with_tensors(noisy), 0, torch.tensor([2, 0, 3, 1]))
    aligned = comparison.align_units(found, teacher, torch.pi, INPUTS)
    rows = comparison.teacher_rows(aligned, INPUTS, None)
    assert [row[2] for row in rows] == [1, 3, 0, 2, 0, 1, 2]
    ours, theirs = aligned.reconstruction, teacher
    ours_below, theirs_below = INPUTS, INPUTS
    for number in (0, 1):
        layer, other = ours.layers[number], theirs.layers[number]
        ours_next, theirs_next = (n.layers[number + 1].blocks[0][0] for n in (ours, theirs))
        errors, of_layer = [], [row for row in rows if row[0] == number + 1]
        for _, unit, _, into, out, length_in, length_out in of_layer:
            a, b = (torch.cat([x.blocks[0][0, unit], x.bias[0, unit : unit + 1]])
                    for x in (layer, other))  # fmt: skip
            assert into == pytest.approx(distance.cosine(a, b))
            assert length_in == pytest.approx(float(a.norm() / b.norm()))
            a_out, b_out = ours_next[:, unit], theirs_next[:, unit]
            assert out == pytest.approx(distance.cosine(a_out, b_out))
            assert length_out == pytest.approx(float(a_out.norm() / b_out.norm()))
            one = torch.tanh(ours_below @ a[:-1] + a[-1])
            two = torch.tanh(theirs_below @ b[:-1] + b[-1])
            errors.append((one - two).square())
        summary = comparison.summarize_layers(aligned, rows, INPUTS)[number]
        assert summary["mse"] == pytest.approx(float(torch.stack(errors).mean()))
        assert summary["max_distance_in"] == max(row[3] for row in of_layer)
        assert summary["max_distance_out"] == max(row[4] for row in of_layer)
        ours_below = torch.tanh(ours_below @ layer.blocks[0][0].T + layer.bias[0])
        theirs_below = torch.tanh(theirs_below @ other.blocks[0][0].T + other.bias[0])
