"""Adam (Kingma & Ba, 2015) on stacked weights, with a learning rate for each student."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim.adam import adam

FIRST, SECOND, EPS = 0.9, 0.999, 1e-8  # decay of the mean and of the mean square of gradients
FUSED = 4096  # numbers of a student in one tensor, from which a call for each student is faster


@dataclass(frozen=True, eq=False)
class Moments:
    """What is remembered of gradients; one tensor for each of the weights.

    Args:
        mean: moving averages of gradients.
        square: of their squares.
        room: for numbers on the way.
    """

    mean: list[Tensor]
    square: list[Tensor]
    room: list[Tensor]

    def take(self, students: Sequence[int] | slice) -> "Moments":
        """Those of some of the students; of a slice in the same memory."""
        chosen = students if isinstance(students, slice) else list(students)
        parts = (self.mean, self.square, self.room)
        mean, square, room = ([tensor[chosen] for tensor in each] for each in parts)
        return Moments(mean, square, room)


def moments(weights: Sequence[Tensor]) -> Moments:
    """Those of weights that have had no gradient yet."""
    mean, square, room = ([torch.zeros_like(tensor) for tensor in weights] for _ in range(3))
    return Moments(mean, square, room)


@torch.no_grad()
def step_(
    weights: Sequence[Tensor],
    gradients: Sequence[Tensor],
    held: Moments,
    rates: Sequence[float],
    step: int,
) -> None:
    """Make the `step`-th step, from 1, in place; large students one by one in a fused call.

    Args:
        weights: (students, ...) each.
        gradients: likewise.
        held: changed too.
        rates: the learning rate of each student.
        step: 1 for the first one.
    """
    if max(tensor[0].numel() for tensor in weights) >= FUSED:
        _step_alone_(weights, gradients, held, rates, step)
        return
    root = math.sqrt(1 - SECOND**step)
    scaled = torch.tensor([-rate * root / (1 - FIRST**step) for rate in rates])
    tensors = zip(weights, gradients, held.mean, held.square, held.room, strict=True)
    for weight, gradient, mean, square, move in tensors:
        mean.lerp_(gradient, 1 - FIRST)
        square.mul_(SECOND).addcmul_(gradient, gradient, value=1 - SECOND)
        torch.sqrt(square, out=move).add_(EPS * root)
        torch.div(mean, move, out=move)
        weight.addcmul_(move, scaled.to(weight).view(-1, *[1] * (weight.ndim - 1)))


def _step_alone_(
    weights: Sequence[Tensor],
    gradients: Sequence[Tensor],
    held: Moments,
    rates: Sequence[float],
    step: int,
) -> None:
    """A step of every student, all tensors of a student in one call; in one for all if they have
    one learning rate."""
    given = (weights, gradients, held.mean, held.square)
    if len(set(rates)) == 1:  # as until the first of them has come to a plateau: one call for all
        of_students, rates = [[tuple(each)] for each in given], rates[:1]
    else:  # one tuple a student of its parts of all tensors, four times
        parted = ([tensor.unbind() for tensor in each] for each in given)
        of_students = [list(zip(*each, strict=True)) for each in parted]
    counts = torch.full((len(rates), len(weights)), step - 1.0, device=weights[0].device)
    how: dict[str, Any] = {"beta1": FIRST, "beta2": SECOND, "eps": EPS, "weight_decay": 0.0}
    how |= {"fused": True, "amsgrad": False, "maximize": False}
    for *parts, before, rate in zip(*of_students, counts, rates, strict=True):
        own, gradient, mean, square = (list(part) for part in parts)
        adam(own, gradient, mean, square, [], list(before.unbind()), lr=rate, **how)
