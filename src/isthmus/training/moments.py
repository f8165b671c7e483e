"""Means and variances of channels, taken in parts."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Moments(NamedTuple):
    """Of some numbers in each channel.

    Args:
        mean: (channels,).
        variance: (channels,), biased.
        num_values: in each channel.
    """

    mean: Tensor
    variance: Tensor
    num_values: int


def of(values: Tensor) -> Moments:
    """Moments over all axes but that of the channels, in float32 or better.

    Two plain reductions: `torch.var_mean` takes twice as long on a CPU.

    Args:
        values: (batch, channels, ...).
    """
    if values.dtype in (torch.float16, torch.bfloat16):
        values = values.float()
    rows = values.movedim(1, -1)  # (batch, *space, channels)
    axes = tuple(range(rows.dim() - 1))
    mean = rows.mean(axes)
    variance = (rows - mean).square_().mean(axes)
    return Moments(mean, variance, values.numel() // values.shape[1])


def merged(parts: Sequence[Moments]) -> Moments:
    """Moments of all parts together; several parts in float64 and on the CPU.

    Args:
        parts: at least one; by the parallel formula of Chan et al. (1979).
    """
    if len(parts) == 1:
        return parts[0]
    num_values = sum(part.num_values for part in parts)
    means = torch.stack([part.mean for part in parts]).cpu().double()  # (parts, channels)
    variances = torch.stack([part.variance for part in parts]).cpu().double()
    shares = torch.tensor([part.num_values / num_values for part in parts], dtype=torch.float64)
    mean = shares @ means
    return Moments(mean, shares @ (variances + (means - mean).square()), num_values)
