"""Barriers of losses and errors along a line, one table of definitions; intervals over seeds.

Imports no torch.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A mean over seeds, with a confidence interval of the mean of all seeds."""

    mean: Array  # (*batch,)
    low: Array  # (*batch,), NaN for one seed
    high: Array  # (*batch,), NaN for one seed


def excess(values: ArrayLike, alphas: ArrayLike) -> Array:
    """Height of a curve above the straight line between its two end values, its chord.

    Args:
        values: (*batch, points), losses or errors.
        alphas: (points,), increasing from 0 to 1.

    Returns:
        (*batch, points), in the unit of `values`, negative below the chord and 0 at both ends.

    Raises:
        ValueError: there are more or fewer values than alphas, or these do not go from 0 to 1.
    """
    heights, where = np.asarray(values, np.float64), np.asarray(alphas, np.float64)
    if heights.shape[-1:] != where.shape:
        raise ValueError(f"alphas: one per value, got {where.shape} for values {heights.shape}")
    rising = len(where) >= 2 and bool((np.diff(where) > 0).all())
    if not (rising and where[0] == 0 and where[-1] == 1):
        raise ValueError(f"alphas: must increase from 0 to 1, got {where.tolist()}")
    chord = _lerp(heights[..., :1], heights[..., -1:], where)
    with np.errstate(invalid="ignore"):  # losses may be infinite
        return heights - chord


def barrier(values: ArrayLike, alphas: ArrayLike) -> Array:
    """Height of the barrier along linear paths (Entezari et al., 2022, definition 2.1).

    The largest excess over the straight line between the two end values; 0 means linearly mode
    connected, up to the resolution of `alphas`.

    Args:
        values: (*batch, points), losses or errors.
        alphas: (points,), increasing from 0 to 1.

    Returns:
        (*batch,), in the unit of `values`, never negative.

    Raises:
        ValueError: as in `excess`.
    """
    return np.asarray(excess(values, alphas).max(axis=-1))


def barrier_frankle(values: ArrayLike, alphas: ArrayLike) -> Array:
    """Height of the barrier as the maximum minus the mean of the two ends (Frankle et al., 2020).

    Above `barrier` where the ends differ: half their difference is counted even on a straight line.

    Args:
        values: (*batch, points), losses or errors from one end to the other.
        alphas: (points,), which do not matter.

    Returns:
        (*batch,), in the unit of `values`, never negative.
    """
    heights = np.asarray(values, np.float64)
    return np.asarray(heights.max(axis=-1) - _lerp(heights[..., 0], heights[..., -1], 0.5))


def midpoint_gap(values: ArrayLike, alphas: ArrayLike) -> Array:
    """Value half way minus the mean of the two ends: negative where the middle is better.

    If 1/2 is not among `alphas`, the value there is that of the straight line between the values at
    the alphas next to it.

    Args:
        values: (*batch, points), losses or errors.
        alphas: (points,), increasing from 0 to 1.

    Returns:
        (*batch,), in the unit of `values`.

    Raises:
        ValueError: as in `excess`.
    """
    above_chord, where = excess(values, alphas), np.asarray(alphas, np.float64)
    right = int(np.searchsorted(where, 0.5))  # never 0
    left = right - 1
    share = (0.5 - where[left]) / (where[right] - where[left])
    # The chord is straight: on it, too, the value at 1/2 is the mean of the ends.
    return _lerp(above_chord[..., left], above_chord[..., right], share)


@dataclass(frozen=True)
class BarrierDefinition:
    """One number that says how high a line rises between its ends.

    Args:
        name: the column of tables, and the name in summaries and figures.
        measure: of losses or errors, (*batch, points), at alphas, (points,): (*batch,).
        caption: explains it in figures; None: it is in tables and summaries alone.
        larger_is_worse: False for one that is large where the line is good.
    """

    name: str
    measure: Callable[[Array, Array], Array]
    caption: str | None = None
    larger_is_worse: bool = True

    @property
    def label(self) -> str:
        """Text of the definition in legends."""
        better = "" if self.larger_is_worse else "; larger is better"
        return f"{self.name}: {self.caption}{better}"


# All definitions, in the order of the columns of tables. A new one needs an entry here, no more.
BARRIERS = (
    BarrierDefinition("barrier", barrier, "largest excess over the chord (Entezari et al., 2022)"),
    BarrierDefinition(
        "barrier_frankle",
        barrier_frankle,
        "largest minus mean of the ends (Frankle et al., 2020)",
    ),
    BarrierDefinition("midpoint_gap", midpoint_gap),
)


def barrier_names() -> tuple[str, ...]:
    """The columns of all definitions."""
    return tuple(definition.name for definition in BARRIERS)


def interval(values: ArrayLike, confidence: float = 0.95) -> Interval:
    """Mean over seeds with the interval of Student's t distribution.

    Args:
        values: (*batch, seeds), independent of each other.
        confidence: probability that the interval holds the mean of all seeds, in (0, 1).

    Raises:
        ValueError: `confidence` is no such probability, or there is no seed.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence: must be between 0 and 1, got {confidence}")
    numbers = np.asarray(values, np.float64)
    num_seeds = numbers.shape[-1]
    if num_seeds < 1:
        raise ValueError("values: an interval needs at least one seed, got none")
    mean = np.asarray(numbers.mean(axis=-1))
    if num_seeds == 1:
        unknown = np.full_like(mean, math.nan)
        return Interval(mean, unknown, unknown)
    from scipy.special import stdtrit  # scipy.stats.t.ppf, without the second that stats imports

    quantile = float(stdtrit(num_seeds - 1, (1 + confidence) / 2))
    half = quantile * numbers.std(axis=-1, ddof=1) / math.sqrt(num_seeds)
    return Interval(mean, mean - half, mean + half)


def refine_alphas(alphas: ArrayLike, values: ArrayLike, num: int) -> Array:
    """Further alphas around the one of largest excess, to measure the height of a barrier better.

    They are on both sides of it, evenly spaced up to the alpha next to it; if their number is odd,
    the side whose neighbour has the larger excess gets one more. Both ends have an excess of 0 by
    definition, so the largest is searched for among the others; without others, the further alphas
    divide the whole line evenly.

    Args:
        alphas: (points,), increasing from 0 to 1.
        values: (points,), losses or errors there.
        num: of further alphas, at least 1.

    Returns:
        (num,), increasing, none of them in `alphas`.

    Raises:
        ValueError: `num` is below 1, or as in `excess`.
    """
    if num < 1:
        raise ValueError(f"refine: must be at least 1, got {num}")
    heights, known = excess(values, alphas), np.asarray(alphas, np.float64)
    if len(known) == 2:
        return _evenly_spaced(known[0], known[1], num)
    peak = 1 + int(heights[1:-1].argmax())
    num_left = num // 2
    if num % 2 and heights[peak - 1] >= heights[peak + 1]:
        num_left += 1
    left = _evenly_spaced(known[peak - 1], known[peak], num_left)
    right = _evenly_spaced(known[peak], known[peak + 1], num - num_left)
    return np.concatenate([left, right])


def _evenly_spaced(first: float, last: float, num: int) -> Array:
    """(num,) numbers between `first` and `last`, without these two."""
    return _lerp(first, last, np.arange(1, num + 1) / (num + 1))


def parse_alphas(alphas: int | Sequence[float]) -> Array:
    """The alphas at which a line is evaluated, from 0, its start, to 1, its end.

    Args:
        alphas: their number, evenly spaced with both ends; or the alphas themselves.

    Returns:
        (alphas,), increasing from 0 to 1.

    Raises:
        ValueError: there are fewer than 2, or those given do not increase from 0 to 1.
    """
    if isinstance(alphas, int):
        if alphas < 2:
            raise ValueError(f"alphas: at least 2, both ends, are needed, got {alphas}")
        return np.arange(alphas) / (alphas - 1)
    values = np.array(list(alphas), np.float64)
    if len(values) < 2:
        raise ValueError(f"alphas: at least 2, both ends, are needed, got {list(alphas)}")
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError(f"alphas: must be in [0, 1], got {list(alphas)}")
    if not (np.diff(values) > 0).all():
        raise ValueError(f"alphas: must increase, got {list(alphas)}")
    if values[0] != 0 or values[-1] != 1:
        raise ValueError(f"alphas: must hold 0 and 1, the two ends, got {list(alphas)}")
    return values


def _lerp(start: ArrayLike, end: ArrayLike, share: ArrayLike) -> Array:
    """The number a share of the way from `start` to `end`, which shares 0 and 1 give exactly.

    Rounded as by `torch.lerp`, by which the tables of older versions were computed.
    """
    first, last, weight = (np.asarray(each, np.float64) for each in (start, end, share))
    near_start = np.abs(weight) < 0.5
    base, coefficient = np.where(near_start, first, last), np.where(near_start, weight, weight - 1)
    with np.errstate(invalid="ignore", over="ignore"):  # losses may be infinite
        return _multiply_add(coefficient, last - first, base)


def _multiply_add(a: Array, b: Array, c: Array) -> Array:
    """a * b + c rounded once, by error-free transformations (Dekker, 1971; Knuth, 1969)."""
    product = a * b
    (a_high, a_low), (b_high, b_low) = _split_halves(a), _split_halves(b)
    lost = a_low * b_low - (((product - a_high * b_high) - a_low * b_high) - a_high * b_low)
    total = product + c
    part = total - product
    return np.asarray(total + (lost + ((product - (total - part)) + (c - part))))


def _split_halves(number: Array) -> tuple[Array, Array]:
    """Two numbers of 26 bits whose sum it is."""
    scaled = (2.0**27 + 1) * number
    high = scaled - (scaled - number)
    return high, number - high
