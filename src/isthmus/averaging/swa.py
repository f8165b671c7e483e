"""Stochastic weight averaging."""

from typing import Any

import torch
from torch import Tensor, nn

from isthmus import state_dicts
from isthmus.averaging.live_tensors import LiveTensors
from isthmus.steps import Step, parse, to_iteration, to_text
from isthmus.vocabulary import AVERAGED_BATCH_NORM_MODES, AveragedBatchNormMode


class SWA:
    """The mean of the weights at `start`, `start + every`, ... (Izmailov et al., 2018).

    All count equally; the same for batch-norm statistics. There is no averaged model before
    `start`. Held in float32.
    """

    def __init__(
        self,
        start: Step = "135ep",
        every: Step = "1ep",
        bn: AveragedBatchNormMode = "average",
    ) -> None:
        """Choose the steps whose weights are averaged.

        Args:
            start: the first moment, in the paper after three quarters of the training, as 135
                epochs are of 180; "0ep" is the state that `start` is called with.
            every: time between two moments, at least one iteration.
            bn: whether evaluations use the averaged batch-norm statistics, or estimate them again
                ("reset").

        Raises:
            ValueError: a value is not allowed.
        """
        parse(start)
        if parse(every) == (0, 0):
            raise ValueError(f"every: must be at least 1it, got {every}")
        if bn not in AVERAGED_BATCH_NORM_MODES:
            raise ValueError(f"bn: must be average or reset, got {bn}")
        self.bn = bn
        self._start_step, self._every_step = start, every

    def start(self, model: nn.Module, iterations: int, iterations_per_epoch: int) -> None:
        """Follow `model`.

        Args:
            model: the network to follow, on its device and in its memory format.
            iterations: optimizer steps of the whole training.
            iterations_per_epoch: optimizer steps of one epoch.

        Raises:
            ValueError: the average would begin after the end of training.
        """
        self._first = to_iteration(self._start_step, iterations_per_epoch)
        self._every = to_iteration(self._every_step, iterations_per_epoch)
        if self._first > iterations:
            raise ValueError(
                f"start: {self._start_step} ({self._first} iterations) is after the end of "
                f"training, {to_text(iterations, iterations_per_epoch)} ({iterations} iterations)"
            )
        self._tensors = LiveTensors(model)
        self._mean = self._tensors.copy()
        self._num = 1 if self._first == 0 else 0

    def update(self, iteration: int) -> None:
        """Take in the weights after optimizer step `iteration`, if they are due."""
        if iteration < self._first or (iteration - self._first) % self._every:
            return
        self._num += 1
        # The first weights, with a share of 1, replace what `start` put there.
        torch._foreach_lerp_(self._mean, self._tensors.read(), 1 / self._num)

    def state_dicts(self) -> dict[str, dict[str, Tensor]]:
        """A copy of the mean as state dict of the model, "swa"; nothing before `start`."""
        return {"swa": self._tensors.state_dict(self._mean)} if self._num else {}

    def state_dict(self) -> dict[str, Any]:
        """A copy of the mean, in float32, and the number of weights in it."""
        return {"num": self._num, "mean": state_dicts.copy(self._tensors.named_tensors(self._mean))}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume, after `start`, from what `state_dict` returned."""
        self._num = state["num"]
        self._tensors.load(self._mean, state["mean"])
