"""Means over the training batches of an epoch, without waiting for the device at each."""

import math
from typing import Any

import torch
from torch import Tensor


class Running:
    """Loss and accuracy of the training batches of the epoch so far."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.clear()

    def clear(self) -> None:
        """Forget the batches so far: a new epoch begins."""
        self.loss_sum, self.num_examples = 0.0, 0  # of the batches that were looked at
        self.losses: list[Tensor] = []  # of the batches since, still on the device
        self.sizes: list[int] = []
        self.correct = torch.zeros((), dtype=torch.int64, device=self.device)

    def add(self, loss: Tensor, correct: Tensor, size: int) -> None:
        """Count one batch, without waiting for the device."""
        self.losses.append(loss)
        self.sizes.append(size)
        self.correct += correct

    def settle(self) -> tuple[int, float] | None:
        """Look at the losses since the last look.

        Returns:
            How many batches ago the first loss was that is not finite, and that loss; or None.
        """
        losses = torch.stack(self.losses).tolist() if self.losses else []
        for position, (loss, size) in enumerate(zip(losses, self.sizes, strict=True)):
            if not math.isfinite(loss):
                return len(losses) - position, loss
            self.loss_sum += loss * size  # one after the other: the same sum wherever one looks
            self.num_examples += size
        self.losses, self.sizes = [], []
        return None

    def loss(self) -> float:
        """Mean cross-entropy of the settled batches, in nats."""
        return self.loss_sum / self.num_examples

    def accuracy(self) -> float:
        """Fraction of the settled batches' examples that were classified correctly."""
        return self.correct.item() / self.num_examples

    def state_dict(self) -> dict[str, Any]:
        """The sums, to be taken right after `settle`."""
        return {
            "loss_sum": self.loss_sum,
            "num_examples": self.num_examples,
            "correct": int(self.correct.item()),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from the sums of an epoch that was interrupted."""
        self.clear()
        self.loss_sum, self.num_examples = state["loss_sum"], state["num_examples"]
        self.correct += state["correct"]
