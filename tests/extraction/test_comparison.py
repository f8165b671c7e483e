import pytest
import torch

from isthmus.extraction import comparison, reconstruction
from isthmus.extraction.reconstruction import ReconstructionRules
from isthmus.extraction.stacks import SYMMETRIES
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
