import pytest
import torch

from isthmus.widths import diagnostics

RANDOM = torch.randn(7, 4, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("matrix", [RANDOM, RANDOM.T, RANDOM.view(7, 2, 2)])
def test_ranks_are_those_of_the_singular_values(matrix):
    s = torch.linalg.svdvals(matrix.flatten(1).double()) ** 2
    assert diagnostics.squared_trace(matrix) == pytest.approx((s.sum() ** 2 / (s**2).sum()).item())
    assert diagnostics.frobenius(matrix) == pytest.approx((s.sum() / s.max()).item())


@pytest.mark.parametrize("rank", [diagnostics.squared_trace, diagnostics.frobenius])
def test_equal_directions_count_one_each_and_size_does_not_matter(rank):
    projection = torch.diag(torch.tensor([1.0, 1, 1, 0, 0]))
    for scale in (1.0, 1e-30, 1e20):
        assert rank(projection * scale) == pytest.approx(3)
    assert rank(torch.outer(RANDOM[:, 0], RANDOM[0])) == pytest.approx(1)
    assert rank(torch.zeros(3, 2)) == 0
