"""A step of some of the students, all of whose activations a CPU's cache holds."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from isthmus.extraction import adam
from isthmus.extraction.stacks import Stack


@dataclass(frozen=True)
class Part:
    """Some of the students, for one epoch.

    Args:
        students: which of them.
        stack: their weights, which are trained.
        moments: of their gradients.
        rates: their learning rates.
    """

    students: slice
    stack: Stack
    moments: adam.Moments
    rates: Sequence[float]

    def step_(self, sources: Sequence[Tensor], targets: Tensor, step: int) -> Tensor:
        """Make a step on a batch; (students,) the sum of the losses of its examples before it."""
        leaves, outputs = self.stack.tensors(), self.stack.outputs(sources)
        misses = outputs.detach() - targets  # (students, batch, outputs)
        losses = misses.square().mean(dim=(1, 2)) * len(targets)
        of_outputs = misses.mul_(2 / targets.numel())  # the gradient of the mean squared error
        gradients = torch.autograd.grad(outputs, leaves, of_outputs)
        adam.step_(leaves, gradients, self.moments, self.rates, step)
        return losses
