"""Barriers of losses and errors along a line, by two definitions; gaps at its middle."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Interval:
    """A mean over seeds, with a confidence interval of the mean of all seeds."""

    mean: Tensor  # (*batch,)
    low: Tensor  # (*batch,), NaN for one seed
    high: Tensor  # (*batch,), NaN for one seed


def excess(values: Tensor, alphas: Tensor) -> Tensor:
    """Height of a curve above the straight line between its two end values, its chord.

    Args:
        values: (*batch, points), losses or errors.
        alphas: (points,), increasing from 0 to 1.

    Returns:
        (*batch, points), in the unit of `values`, negative below the chord and 0 at both ends.

    Raises:
        ValueError: there are more or fewer values than alphas, or these do not go from 0 to 1.
    """
    if values.shape[-1:] != alphas.shape:
        raise ValueError(
            f"alphas: one per value, got {tuple(alphas.shape)} for values {tuple(values.shape)}"
        )
    rising = len(alphas) >= 2 and bool((alphas.diff() > 0).all())
    if not (rising and alphas[0] == 0 and alphas[-1] == 1):
        raise ValueError(f"alphas: must increase from 0 to 1, got {alphas.tolist()}")
    chord = values[..., :1].lerp(values[..., -1:], alphas.to(values))  # (*batch, points)
    return values - chord


def barrier(values: Tensor, alphas: Tensor) -> Tensor:
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
    return excess(values, alphas).amax(dim=-1)


def barrier_frankle(values: Tensor) -> Tensor:
    """Height of the barrier as the maximum minus the mean of the two ends (Frankle et al., 2020).

    Above `barrier` where the ends differ: half their difference is counted even on a straight line.

    Args:
        values: (*batch, points), losses or errors from one end to the other.

    Returns:
        (*batch,), in the unit of `values`, never negative.
    """
    return values.amax(dim=-1) - _mean_of_ends(values)


def midpoint_gap(values: Tensor, alphas: Tensor) -> Tensor:
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
    above_chord = excess(values, alphas)
    right = int(torch.searchsorted(alphas, torch.tensor(0.5, dtype=alphas.dtype)))  # never 0
    left = right - 1
    share = float((0.5 - alphas[left]) / (alphas[right] - alphas[left]))
    # The chord is straight: on it, too, the value at 1/2 is the mean of the ends.
    return above_chord[..., left].lerp(above_chord[..., right], share)


def interval(values: Tensor, confidence: float = 0.95) -> Interval:
    """Mean over seeds with the interval of Student's t distribution.

    Args:
        values: (*batch, seeds), independent of each other.
        confidence: probability that the interval holds the mean of all seeds, in (0, 1).

    Raises:
        ValueError: `confidence` is no such probability, or there is no seed.
    """
    from scipy.special import stdtrit  # scipy.stats.t.ppf, without the second that stats imports

    if not 0 < confidence < 1:
        raise ValueError(f"confidence: must be between 0 and 1, got {confidence}")
    num_seeds = values.shape[-1]
    if num_seeds < 1:
        raise ValueError("values: an interval needs at least one seed, got none")
    mean = values.mean(dim=-1)
    if num_seeds == 1:
        unknown = torch.full_like(mean, math.nan)
        return Interval(mean, unknown, unknown)
    quantile = float(stdtrit(num_seeds - 1, (1 + confidence) / 2))
    half = quantile * values.std(dim=-1) / math.sqrt(num_seeds)
    return Interval(mean, mean - half, mean + half)


def refine_alphas(alphas: Tensor, values: Tensor, num: int) -> Tensor:
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
        (num,) float64, increasing, none of them in `alphas`.

    Raises:
        ValueError: `num` is below 1, or as in `excess`.
    """
    if num < 1:
        raise ValueError(f"refine: must be at least 1, got {num}")
    heights, known = excess(values, alphas), alphas.double()
    if len(known) == 2:
        return _evenly_spaced(known[0], known[1], num)
    peak = 1 + int(heights[1:-1].argmax())
    num_left = num // 2
    if num % 2 and heights[peak - 1] >= heights[peak + 1]:
        num_left += 1
    left = _evenly_spaced(known[peak - 1], known[peak], num_left)
    right = _evenly_spaced(known[peak], known[peak + 1], num - num_left)
    return torch.cat([left, right])


def _mean_of_ends(values: Tensor) -> Tensor:
    return values[..., 0].lerp(values[..., -1], 0.5)


def _evenly_spaced(first: Tensor, last: Tensor, num: int) -> Tensor:
    """(num,) numbers between `first` and `last`, without these two."""
    shares = torch.arange(1, num + 1, dtype=torch.float64) / (num + 1)
    return first.lerp(last, shares)


def parse_alphas(alphas: int | Sequence[float]) -> Tensor:
    """The alphas at which a line is evaluated, from 0, its start, to 1, its end.

    Args:
        alphas: their number, evenly spaced with both ends; or the alphas themselves.

    Returns:
        (alphas,) float64, increasing from 0 to 1.

    Raises:
        ValueError: there are fewer than 2, or those given do not increase from 0 to 1.
    """
    if isinstance(alphas, int):
        if alphas < 2:
            raise ValueError(f"alphas: at least 2, both ends, are needed, got {alphas}")
        return torch.arange(alphas, dtype=torch.float64) / (alphas - 1)
    values = torch.tensor(list(alphas), dtype=torch.float64)
    if len(values) < 2:
        raise ValueError(f"alphas: at least 2, both ends, are needed, got {list(alphas)}")
    if not bool(((values >= 0) & (values <= 1)).all()):
        raise ValueError(f"alphas: must be in [0, 1], got {list(alphas)}")
    if not bool((values.diff() > 0).all()):
        raise ValueError(f"alphas: must increase, got {list(alphas)}")
    if values[0] != 0 or values[-1] != 1:
        raise ValueError(f"alphas: must hold 0 and 1, the two ends, got {list(alphas)}")
    return values
