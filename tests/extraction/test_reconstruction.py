import pytest
import torch

from isthmus.extraction import reconstruction
from isthmus.extraction.reconstruction import ReconstructionRules
from isthmus.extraction.stacks import SYMMETRIES
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
