import math

import pytest
import torch
from scipy import stats

from isthmus.connectivity.barriers import (
    barrier,
    barrier_frankle,
    excess,
    interval,
    midpoint_gap,
    refine_alphas,
)

ALPHAS = torch.linspace(0, 1, 9, dtype=torch.float64)
SLOPE = 1 + 2 * ALPHAS
BUMP = 4 * ALPHAS * (1 - ALPHAS)  # 0 at both ends, 1 at alpha = 1/2


def number(value):
    return torch.tensor(value, dtype=torch.float64)


def test_barrier_of_a_bump_on_a_slope_is_the_height_of_the_bump():
    torch.testing.assert_close(barrier(SLOPE + 0.3 * BUMP, ALPHAS), number(0.3))


def test_barrier_of_a_valley_is_zero():
    assert barrier(SLOPE - 0.3 * BUMP, ALPHAS) == 0


def test_barrier_of_a_line_is_zero_to_rounding_and_never_negative():
    for dtype in (torch.float32, torch.float64):
        height = barrier((0.1 + 0.7 * ALPHAS).to(dtype), ALPHAS)
        assert 0 <= height < 1e-7


def test_frankle_barrier_of_a_slope_is_half_the_difference_of_its_ends():
    torch.testing.assert_close(barrier_frankle(SLOPE), number(1.0))
    torch.testing.assert_close(barrier_frankle(SLOPE.flip(0)), number(1.0))


def test_both_barriers_agree_where_the_ends_are_equal():
    values = 1 + 0.3 * BUMP
    torch.testing.assert_close(barrier(values, ALPHAS), barrier_frankle(values))
    torch.testing.assert_close(barrier(values, ALPHAS), number(0.3))


def test_midpoint_gap_has_a_sign():
    torch.testing.assert_close(midpoint_gap(SLOPE + 0.3 * BUMP, ALPHAS), number(0.3))
    torch.testing.assert_close(midpoint_gap(SLOPE - 0.3 * BUMP, ALPHAS), number(-0.3))


def test_midpoint_gap_without_a_midpoint_is_interpolated_between_its_neighbours():
    alphas = number([0.0, 0.2, 0.6, 1.0])
    values = number([1.0, 5.0, 3.0, 2.0])
    expected = 5 + (0.5 - 0.2) / (0.6 - 0.2) * (3 - 5) - (1 + 2) / 2
    torch.testing.assert_close(midpoint_gap(values, alphas), number(expected))


def test_midpoint_gap_of_two_alphas_is_zero():
    assert midpoint_gap(number([1.0, 4.0]), number([0.0, 1.0])) == 0


def test_leading_axes_are_separate_curves():
    generator = torch.Generator().manual_seed(0)
    values = torch.rand(2, 3, 9, generator=generator, dtype=torch.float64)
    for measure in (
        lambda v: barrier(v, ALPHAS),
        barrier_frankle,
        lambda v: midpoint_gap(v, ALPHAS),
    ):
        together = measure(values)
        assert together.shape == (2, 3)
        for i in range(2):
            for j in range(3):
                torch.testing.assert_close(together[i, j], measure(values[i, j]))


def test_excess_is_zero_at_both_ends_and_the_bump_between_them():
    found = excess(SLOPE + BUMP, ALPHAS)
    assert found[0] == found[-1] == 0
    torch.testing.assert_close(found, BUMP)


def test_values_that_do_not_fit_their_alphas_are_refused():
    with pytest.raises(ValueError, match=r"^alphas: one per value, got \(9,\) for values \(8,\)"):
        barrier(SLOPE[1:], ALPHAS)


@pytest.mark.parametrize("alphas", [[0.0, 0.5, 0.9], [0.1, 0.5, 1.0], [0.0, 0.5, 0.5, 1.0], [0.0]])
def test_alphas_that_do_not_go_from_0_to_1_are_refused(alphas):
    with pytest.raises(ValueError, match="^alphas: must increase from 0 to 1, got"):
        barrier(torch.zeros(len(alphas)), number(alphas))


@pytest.mark.parametrize("num_seeds", [2, 3, 10])
@pytest.mark.parametrize("confidence", [0.5, 0.95])
def test_interval_is_that_of_scipy(num_seeds, confidence):
    generator = torch.Generator().manual_seed(0)
    values = torch.rand(4, num_seeds, generator=generator, dtype=torch.float64)
    found = interval(values, confidence)
    low, high = stats.t.interval(
        confidence, num_seeds - 1, loc=values.mean(1), scale=stats.sem(values.numpy(), axis=1)
    )
    torch.testing.assert_close(found.mean, values.mean(dim=1))
    torch.testing.assert_close(found.low, torch.from_numpy(low))
    torch.testing.assert_close(found.high, torch.from_numpy(high))


def test_interval_of_one_seed_is_not_a_number():
    found = interval(number([[2.0], [3.0]]))
    assert found.mean.tolist() == [2, 3]
    assert found.low.isnan().all() and found.high.isnan().all()


def test_an_interval_of_no_seed_or_no_confidence_is_refused():
    with pytest.raises(ValueError, match="^values: an interval needs at least one seed, got none"):
        interval(torch.zeros(3, 0))
    for confidence in (0, 1, 95, math.nan):
        with pytest.raises(ValueError, match="^confidence: must be between 0 and 1, got"):
            interval(torch.zeros(3), confidence)


def test_refined_alphas_lie_on_either_side_of_the_highest():
    values = SLOPE + BUMP  # highest above the chord at alpha = 1/2, though largest beyond it
    found = refine_alphas(ALPHAS, values, 4)
    third = 0.125 / 3
    expected = [0.375 + third, 0.375 + 2 * third, 0.5 + third, 0.5 + 2 * third]
    torch.testing.assert_close(found, number(expected))


def test_the_odd_refined_alpha_lies_on_the_higher_side():
    values = torch.zeros(9, dtype=torch.float64)
    values[4], values[3], values[5] = 1.0, 0.2, 0.5
    assert refine_alphas(ALPHAS, values, 1).tolist() == [0.5625]
    assert refine_alphas(ALPHAS, values.flip(0), 1).tolist() == [0.4375]


@pytest.mark.parametrize("num", [1, 2, 3, 10])
@pytest.mark.parametrize("peak", range(9))
def test_refined_alphas_are_new_and_strictly_between_the_neighbours(num, peak):
    values = torch.zeros(9)
    values[peak] = 1
    found = refine_alphas(ALPHAS, values, num)
    assert len(found) == num and (found.diff() > 0).all()
    assert not set(found.tolist()) & set(ALPHAS.tolist())
    assert found.equal(refine_alphas(ALPHAS, values, num))
    if 0 < peak < 8:
        assert ALPHAS[peak - 1] < found.min() and found.max() < ALPHAS[peak + 1]


def test_refining_a_bump_between_alphas_finds_more_of_its_height():
    def curve(alphas):
        return torch.exp(-(((alphas - 0.44) / 0.05) ** 2))

    more = torch.cat([ALPHAS, refine_alphas(ALPHAS, curve(ALPHAS), 6)]).sort().values
    assert barrier(curve(ALPHAS), ALPHAS) < 0.3
    assert barrier(curve(more), more) > 0.9


def test_two_alphas_are_refined_evenly():
    found = refine_alphas(number([0.0, 1.0]), number([1.0, 2.0]), 3)
    assert found.tolist() == [0.25, 0.5, 0.75]


def test_refining_by_none_is_refused():
    with pytest.raises(ValueError, match="^refine: must be at least 1, got 0$"):
        refine_alphas(ALPHAS, SLOPE, 0)
