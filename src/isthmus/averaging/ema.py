"""Exponential moving averages of the weights."""

from typing import Any

import torch
from torch import Tensor, nn

from isthmus import state_dicts
from isthmus.averaging.live_tensors import LiveTensors
from isthmus.state_dicts import StateDict
from isthmus.vocabulary import AVERAGED_BATCH_NORM_MODES, AveragedBatchNormMode, Share


class EMA:
    """Exponential moving averages of one training, with one or several decays.

    After every optimizer step `average <- decay * average + (1 - decay) * weights`, from the
    weights at `start` on, with no bias correction and no warm-up (timm's `ModelEmaV2`); the same
    for batch-norm statistics. A decay among several gives bit for bit what it gives alone. Held in
    float32; nothing waits for the device.
    """

    def __init__(
        self, decay: Share | list[Share] = 0.999, bn: AveragedBatchNormMode = "average"
    ) -> None:
        """Choose the decays.

        Args:
            decay: per optimizer step, in [0, 1); several make several averaged models.
            bn: whether evaluations use the averaged batch-norm statistics, or estimate them again
                ("reset").

        Raises:
            ValueError: a value is not allowed, or appears twice.
        """
        decays = [decay] if isinstance(decay, int | float) else list(decay)
        if not decays:
            raise ValueError("decay: must hold at least one value, got []")
        for value in decays:
            if not 0 <= value < 1:
                raise ValueError(f"decay: must be in [0, 1), got {value}")
        if len(set(decays)) < len(decays):
            raise ValueError(f"decay: must not repeat a value, got {decays}")
        if bn not in AVERAGED_BATCH_NORM_MODES:
            raise ValueError(f"bn: must be average or reset, got {bn}")
        self.bn = bn
        self._shares = {f"ema_{float(value)!r}": 1 - value for value in decays}  # of new weights

    def start(self, model: nn.Module, iterations: int, iterations_per_epoch: int) -> None:
        """Begin from the weights that `model` holds now.

        Args:
            model: the network to follow, on its device and in its memory format.
            iterations: optimizer steps of the whole training; not used.
            iterations_per_epoch: optimizer steps of one epoch; not used.
        """
        self._tensors = LiveTensors(model)
        self._averages = {name: self._tensors.copy() for name in self._shares}

    def update(self, iteration: int) -> None:
        """Take in the weights after optimizer step number `iteration`."""
        weights = self._tensors.read()
        for name, average in self._averages.items():
            torch._foreach_lerp_(average, weights, self._shares[name])

    def state_dicts(self) -> dict[str, dict[str, Tensor]]:
        """Copies of the averages as state dicts of the model: "ema_0.999" and so on."""
        return {name: self._tensors.state_dict(a) for name, a in self._averages.items()}

    def state_dict(self) -> dict[str, Any]:
        """Copies of the averages, in float32."""
        return {
            name: state_dicts.copy(self._tensors.named_tensors(average))
            for name, average in self._averages.items()
        }

    def load_state_dict(self, state: dict[str, StateDict]) -> None:
        """Resume, after `start`, from what `state_dict` returned.

        Raises:
            ValueError: it holds averages with other decays.
        """
        if set(state) != set(self._averages):
            raise ValueError(
                f"decay: the saved state holds {', '.join(state)}; "
                f"this run keeps {', '.join(self._averages)}"
            )
        for name, average in self._averages.items():
            self._tensors.load(average, state[name])
