import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy import stats

from isthmus.connectivity import barriers
from isthmus.connectivity.barriers import (
    BARRIERS,
    BarrierDefinition,
    barrier,
    barrier_frankle,
    excess,
    interval,
    midpoint_gap,
    refine_alphas,
)
from isthmus.paths import SOURCES

ALPHAS = np.linspace(0, 1, 9)
SLOPE = 1 + 2 * ALPHAS
BUMP = 4 * ALPHAS * (1 - ALPHAS)  # 0 at both ends, 1 at alpha = 1/2


def test_barrier_of_a_bump_on_a_slope_is_the_height_of_the_bump():
    assert barrier(SLOPE + 0.3 * BUMP, ALPHAS) == pytest.approx(0.3)


def test_barrier_of_a_valley_is_zero():
    assert barrier(SLOPE - 0.3 * BUMP, ALPHAS) == 0


def test_barrier_of_a_line_is_zero_to_rounding_and_never_negative():
    for dtype in (np.float32, np.float64):
        height = barrier((0.1 + 0.7 * ALPHAS).astype(dtype), ALPHAS)
        assert 0 <= height < 1e-7


def test_frankle_barrier_of_a_slope_is_half_the_difference_of_its_ends():
    assert barrier_frankle(SLOPE, ALPHAS) == pytest.approx(1)
    assert barrier_frankle(SLOPE[::-1], ALPHAS) == pytest.approx(1)


def test_both_barriers_agree_where_the_ends_are_equal():
    values = 1 + 0.3 * BUMP
    for measure in (barrier, barrier_frankle):
        assert measure(values, ALPHAS) == pytest.approx(0.3)


def test_midpoint_gap_has_a_sign():
    assert midpoint_gap(SLOPE + 0.3 * BUMP, ALPHAS) == pytest.approx(0.3)
    assert midpoint_gap(SLOPE - 0.3 * BUMP, ALPHAS) == pytest.approx(-0.3)


def test_midpoint_gap_without_a_midpoint_is_interpolated_between_its_neighbours():
    alphas = [0.0, 0.2, 0.6, 1.0]
    values = [1.0, 5.0, 3.0, 2.0]
    expected = 5 + (0.5 - 0.2) / (0.6 - 0.2) * (3 - 5) - (1 + 2) / 2
    assert midpoint_gap(values, alphas) == pytest.approx(expected)


def test_midpoint_gap_of_two_alphas_is_zero():
    assert midpoint_gap([1.0, 4.0], [0.0, 1.0]) == 0


@pytest.mark.parametrize("definition", BARRIERS, ids=lambda each: each.name)
def test_leading_axes_are_separate_curves(definition):
    values = np.random.default_rng(0).random((2, 3, 9))
    together = definition.measure(values, ALPHAS)
    assert together.shape == (2, 3)
    for place in np.ndindex(2, 3):
        assert together[place] == definition.measure(values[place], ALPHAS)


def test_excess_is_zero_at_both_ends_and_the_bump_between_them():
    found = excess(SLOPE + BUMP, ALPHAS)
    assert found[0] == found[-1] == 0
    assert_allclose(found, BUMP, atol=1e-15)


def test_values_that_do_not_fit_their_alphas_are_refused():
    with pytest.raises(ValueError, match=r"^alphas: one per value, got \(9,\) for values \(8,\)"):
        barrier(SLOPE[1:], ALPHAS)


@pytest.mark.parametrize("alphas", [[0.0, 0.5, 0.9], [0.1, 0.5, 1.0], [0.0, 0.5, 0.5, 1.0], [0.0]])
def test_alphas_that_do_not_go_from_0_to_1_are_refused(alphas):
    with pytest.raises(ValueError, match="^alphas: must increase from 0 to 1, got"):
        barrier(np.zeros(len(alphas)), alphas)


@pytest.mark.parametrize("num_seeds", [2, 3, 10])
@pytest.mark.parametrize("confidence", [0.5, 0.95])
def test_interval_is_that_of_scipy(num_seeds, confidence):
    values = np.random.default_rng(0).random((4, num_seeds))
    found = interval(values, confidence)
    low, high = stats.t.interval(
        confidence, num_seeds - 1, loc=values.mean(1), scale=stats.sem(values, axis=1)
    )
    assert_allclose(found.mean, values.mean(axis=1))
    assert_allclose(found.low, low)
    assert_allclose(found.high, high)


def test_interval_of_one_seed_is_not_a_number():
    found = interval([[2.0], [3.0]])
    assert found.mean.tolist() == [2, 3]
    assert np.isnan(found.low).all() and np.isnan(found.high).all()


def test_an_interval_of_no_seed_or_no_confidence_is_refused():
    with pytest.raises(ValueError, match="^values: an interval needs at least one seed, got none"):
        interval(np.zeros((3, 0)))
    for confidence in (0, 1, 95, math.nan):
        with pytest.raises(ValueError, match="^confidence: must be between 0 and 1, got"):
            interval(np.zeros(3), confidence)


def test_refined_alphas_lie_on_either_side_of_the_highest():
    values = SLOPE + BUMP  # highest above the chord at alpha = 1/2, though largest beyond it
    found = refine_alphas(ALPHAS, values, 4)
    third = 0.125 / 3
    expected = [0.375 + third, 0.375 + 2 * third, 0.5 + third, 0.5 + 2 * third]
    assert_allclose(found, expected)


def test_the_odd_refined_alpha_lies_on_the_higher_side():
    values = np.zeros(9)
    values[4], values[3], values[5] = 1.0, 0.2, 0.5
    assert refine_alphas(ALPHAS, values, 1).tolist() == [0.5625]
    assert refine_alphas(ALPHAS, values[::-1], 1).tolist() == [0.4375]


@pytest.mark.parametrize("num", [1, 2, 3, 10])
@pytest.mark.parametrize("peak", range(9))
def test_refined_alphas_are_new_and_strictly_between_the_neighbours(num, peak):
    values = np.zeros(9)
    values[peak] = 1
    found = refine_alphas(ALPHAS, values, num)
    assert len(found) == num and (np.diff(found) > 0).all()
    assert not set(found.tolist()) & set(ALPHAS.tolist())
    assert found.tolist() == refine_alphas(ALPHAS, values, num).tolist()
    if 0 < peak < 8:
        assert ALPHAS[peak - 1] < found.min() and found.max() < ALPHAS[peak + 1]


def test_refining_a_bump_between_alphas_finds_more_of_its_height():
    def curve(alphas):
        return np.exp(-(((alphas - 0.44) / 0.05) ** 2))

    more = np.sort([*ALPHAS, *refine_alphas(ALPHAS, curve(ALPHAS), 6)])
    assert barrier(curve(ALPHAS), ALPHAS) < 0.3
    assert barrier(curve(more), more) > 0.9


def test_two_alphas_are_refined_evenly():
    found = refine_alphas([0.0, 1.0], [1.0, 2.0], 3)
    assert found.tolist() == [0.25, 0.5, 0.75]


def test_refining_by_none_is_refused():
    with pytest.raises(ValueError, match="^refine: must be at least 1, got 0$"):
        refine_alphas(ALPHAS, SLOPE, 0)


def test_numbers_are_those_of_torch_to_the_last_bit():
    """Tables of older versions were computed by torch."""
    values = np.random.default_rng(0).random((500, 25))
    alphas = barriers.parse_alphas(25)
    first, last, where = (
        torch.from_numpy(each) for each in (values[:, :1], values[:, -1:], alphas)
    )
    chords = first.lerp(last, torch.from_numpy(alphas)).numpy()
    assert (barrier(values, alphas) == (values - chords).max(axis=1)).all()
    middles = first[:, 0].lerp(last[:, 0], 0.5).numpy()
    assert (barrier_frankle(values, alphas) == values.max(axis=1) - middles).all()


def test_a_barrier_that_is_infinite_is_said_to_be(recwarn):
    values = np.where(ALPHAS == 0.5, math.inf, SLOPE)
    assert barrier(values, ALPHAS) == barrier_frankle(values, ALPHAS) == math.inf
    assert not recwarn.list


@pytest.mark.parametrize(("worse", "label"), [(True, "a: b"), (False, "a: b; larger is better")])
def test_a_label_says_whether_larger_is_better(worse, label):
    assert BarrierDefinition("a", barrier, "b", larger_is_worse=worse).label == label


def test_barriers_import_no_torch():
    code = "import sys, isthmus.connectivity.barriers; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=SOURCES)


@pytest.mark.parametrize("num", [2, 3, 25])
def test_a_number_of_alphas_spaces_them_evenly_with_both_ends(num):
    alphas = barriers.parse_alphas(num)
    assert alphas.tolist() == [i / (num - 1) for i in range(num)]
    assert alphas.dtype == np.float64


def test_alphas_may_be_given():
    assert barriers.parse_alphas([0, 0.25, 1]).tolist() == [0, 0.25, 1]


@pytest.mark.parametrize(
    ("alphas", "message"),
    [
        (1, "^alphas: at least 2, both ends, are needed, got 1$"),
        (0, "^alphas: at least 2, both ends, are needed, got 0$"),
        ([], r"^alphas: at least 2, both ends, are needed, got \[\]$"),
        ([0.5], r"^alphas: at least 2, both ends, are needed, got \[0.5\]$"),
        ([0, 1.2], r"^alphas: must be in \[0, 1\], got \[0, 1.2\]$"),
        ([-0.1, 1], r"^alphas: must be in \[0, 1\], got"),
        ([0, math.nan, 1], r"^alphas: must be in \[0, 1\], got"),
        ([0, 0.5, 0.5, 1], "^alphas: must increase, got"),
        ([1, 0], "^alphas: must increase, got"),
        ([0, 0.5], "^alphas: must hold 0 and 1, the two ends, got"),
        ([0.5, 1], "^alphas: must hold 0 and 1, the two ends, got"),
    ],
)
def test_alphas_that_are_no_line_are_refused(alphas, message):
    with pytest.raises(ValueError, match=message):
        barriers.parse_alphas(alphas)
