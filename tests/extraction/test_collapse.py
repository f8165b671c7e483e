import torch

from isthmus.extraction import clustering as extraction_clustering
from isthmus.extraction import reconstruction
from isthmus.extraction.reconstruction import average_output_layer, collapse_clusters
from tests.extraction.made import INPUTS, random_stack, students_of

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
