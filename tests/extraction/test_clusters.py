import pytest
import torch

from isthmus.extraction import clustering
from isthmus.extraction.stacks import SYMMETRIES

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
