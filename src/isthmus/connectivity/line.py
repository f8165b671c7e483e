"""The straight line between two networks."""

from collections.abc import Sequence

import torch
from torch import Tensor

from isthmus.connectivity.points import Curve, PointEvaluator
from isthmus.state_dicts import StateDict


def parse_alphas(alphas: int | Sequence[float]) -> Tensor:
    """Where on a line to look, from 0, its start, to 1, its end.

    Args:
        alphas: how many, evenly spaced with both ends; or which.

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
        raise ValueError(f"alphas: must lie in [0, 1], got {list(alphas)}")
    if not bool((values.diff() > 0).all()):
        raise ValueError(f"alphas: must increase, got {list(alphas)}")
    if values[0] != 0 or values[-1] != 1:
        raise ValueError(f"alphas: must hold 0 and 1, the two ends, got {list(alphas)}")
    return values


def shares(alphas: Tensor) -> Tensor:
    """(alphas, 2), how much of the start and of the end is in each point of the line."""
    return torch.stack([1 - alphas, alphas], dim=1)


def evaluate(
    points: PointEvaluator,
    start: StateDict,
    end: StateDict,
    alphas: Tensor,
    bn: str,
    splits: Sequence[str] | None = None,
) -> dict[str, Curve]:
    """Loss and accuracy along the line from `start` to `end`.

    All points are treated alike, the ends too: "reset" estimates their batch-norm statistics anew;
    otherwise they have their own, and exactly the values that the evaluator gives them.

    Args:
        points: evaluates combinations of networks.
        start: the network at alpha 0.
        end: the network at alpha 1.
        alphas: (alphas,) in [0, 1], in any order; those of `barriers.refined` need no ends.
        bn: as in `PointEvaluator.evaluate`; "keep" takes the statistics of the nearer end, at
            alpha 1/2 those of `start`.
        splits: some of those of `points`; None for all.

    Returns:
        By split, loss and accuracy of shape (alphas,).

    Raises:
        ValueError: the networks differ in architecture, or `bn` is none there is.
    """
    return points.evaluate([start, end], shares(alphas), bn, splits)
