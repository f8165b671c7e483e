"""The mean of the latest weights."""

from typing import Any

import torch
from torch import Tensor, nn

from isthmus import state_dicts
from isthmus.averaging.live_tensors import LiveTensors
from isthmus.steps import Step, parse, to_iteration, to_text
from isthmus.vocabulary import AVERAGED_BATCH_NORM_MODES, AveragedBatchNormMode, Count


class Latest:
    """The mean of the last `num` snapshots of the weights (LAWA; Kaddour, 2022).

    Snapshots are taken at `every`, 2 `every`, ..., never of the initialization; while there are
    fewer than `num` it is the mean of those. The same for batch-norm statistics. Held in float32.
    """

    def __init__(
        self, num: Count = 5, every: Step = "1ep", bn: AveragedBatchNormMode = "average"
    ) -> None:
        """Choose the snapshots.

        Args:
            num: how many are averaged, at least 1; each takes as much memory as the model.
            every: time between two, at least one iteration.
            bn: whether evaluations use the averaged batch-norm statistics, or estimate them again
                ("reset").

        Raises:
            ValueError: a value is not allowed.
        """
        if num < 1:
            raise ValueError(f"num: must be at least 1, got {num}")
        if parse(every) == (0, 0):
            raise ValueError(f"every: must be at least 1it, got {every}")
        if bn not in AVERAGED_BATCH_NORM_MODES:
            raise ValueError(f"bn: must be average or reset, got {bn}")
        self.bn = bn
        self._num, self._every_step = num, every

    def start(self, model: nn.Module, iterations: int, iterations_per_epoch: int) -> None:
        """Follow `model`.

        Args:
            model: the network to follow, on its device and in its memory format.
            iterations: optimizer steps of the whole training.
            iterations_per_epoch: optimizer steps of one epoch.

        Raises:
            ValueError: the training ends before the first snapshot.
        """
        self._every = to_iteration(self._every_step, iterations_per_epoch)
        if self._every > iterations:
            raise ValueError(
                f"every: {self._every_step} ({self._every} iterations) is after the end of "
                f"training, {to_text(iterations, iterations_per_epoch)} ({iterations} iterations)"
            )
        self._tensors = LiveTensors(model)
        self._snapshots: list[list[Tensor]] = []  # the oldest one first

    def update(self, iteration: int) -> None:
        """Take in the weights after optimizer step `iteration`, if they are due."""
        if iteration % self._every:
            return
        if len(self._snapshots) < self._num:
            self._snapshots.append(self._tensors.copy())
        else:
            oldest = self._snapshots.pop(0)
            torch._foreach_copy_(oldest, self._tensors.read())
            self._snapshots.append(oldest)

    def state_dicts(self) -> dict[str, dict[str, Tensor]]:
        """The mean as state dict of the model, "latest_5"; nothing before the first snapshot."""
        if not self._snapshots:
            return {}
        mean = [tensor.clone() for tensor in self._snapshots[0]]
        for position, snapshot in enumerate(self._snapshots[1:], start=2):
            torch._foreach_lerp_(mean, snapshot, 1 / position)
        return {f"latest_{self._num}": self._tensors.state_dict(mean)}

    def state_dict(self) -> dict[str, Any]:
        """Copies of the snapshots, in float32, the oldest one first."""
        snapshots = [self._tensors.named_tensors(snapshot) for snapshot in self._snapshots]
        return {"snapshots": [state_dicts.copy(snapshot) for snapshot in snapshots]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume, after `start`, from what `state_dict` returned.

        Raises:
            ValueError: it holds more snapshots than are averaged.
        """
        if len(state["snapshots"]) > self._num:
            raise ValueError(
                f"num: the saved state holds {len(state['snapshots'])} snapshots, got {self._num}"
            )
        self._snapshots = [self._tensors.copy() for _ in state["snapshots"]]
        for snapshot, saved in zip(self._snapshots, state["snapshots"], strict=True):
            self._tensors.load(snapshot, saved)
