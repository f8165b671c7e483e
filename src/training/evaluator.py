"""Any weights of one model on any split of one data set."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from src.data import batches as data_batches
from src.data.splits import DataSet
from src.state_dicts import StateDict
from src.training import batch_norm
from src.training.evaluation import Evaluation, evaluate
from src.training.recipe import Runtime

CALIBRATION_EXAMPLES = 2048  # on which batch-norm statistics are estimated
CALIBRATION_VALUES = 2**23  # input values in one pass of it: all of it, up to 36 x 36 pixels
BATCH_VALUES = 2**20  # input values in one batch of an evaluation


class Evaluator:
    """Holds a model's architecture and a data set, on one device, to evaluate weights with.

    Args:
        model: the architecture; its own weights and mode are left as they are.
        data: the data set; a split is moved to the device when it is first asked for.
        device: where the model is.
        runtime: memory format and number of workers.
        precision: "fp32", or "bf16" for matrix products in bfloat16.
    """

    def __init__(
        self,
        model: nn.Module,
        data: DataSet,
        device: torch.device,
        runtime: Runtime,
        precision: str = "fp32",
    ) -> None:
        self.model, self.data, self.device, self.runtime = model, data, device, runtime
        self.autocast = torch.bfloat16 if precision == "bf16" else None
        self._splits: dict[str, Any] = {}
        self._calibration: Tensor | None = None

    def evaluate(self, models: Mapping[str, StateDict], split: str) -> Evaluation:
        """Evaluate weights on a split, un-augmented and in its fixed order."""
        if split not in self._splits:
            values = math.prod(self.data.input_shape)
            self._splits[split] = data_batches.eval_batches(
                self.data.splits[split],
                self.data.normalization,
                batch_size=min(1000, max(32, BATCH_VALUES // values)),
                device=self.device,
                channels_last=self.runtime.channels_last,
                num_workers=self.runtime.num_workers,
            )
        return evaluate(self.model, list(models.values()), self._splits[split], self.autocast)

    def table(
        self, models: Mapping[str, StateDict], splits: list[str] | None = None
    ) -> dict[str, dict[str, dict[str, float]]]:
        """Loss and accuracy by model, then by split.

        Args:
            models: weights by name.
            splits: train, val, test, or None for all that the data set has.

        Raises:
            ValueError: the data set has no such split.
        """
        there = list(self.data.splits)
        for split in splits or []:
            if split not in there:
                raise ValueError(f"splits={split}: this data set has {', '.join(there)}")
        rows: dict[str, dict[str, dict[str, float]]] = {name: {} for name in models}
        for split in splits or there:
            result = self.evaluate(models, split)
            numbers = zip(models, result.loss.tolist(), result.accuracy.tolist(), strict=True)
            for name, loss, accuracy in numbers:
                rows[name][split] = {"loss": loss, "accuracy": accuracy}
        return rows

    def combined(self, weights: StateDict, last: StateDict, bn: str) -> StateDict:
        """Weights made of several networks, on the device, with fitting batch-norm statistics.

        Args:
            weights: combined, statistics like all else.
            last: the network whose statistics "keep" takes.
            bn: "reset": those that the weights have on the training set; "average": as they are;
                "keep".
        """
        if bn == "keep":
            weights = batch_norm.with_statistics_of(self.model, weights, last)
        weights = {name: tensor.to(self.device) for name, tensor in weights.items()}
        return self.reset_batch_norm(weights) if bn == "reset" else weights

    def reset_batch_norm(self, weights: StateDict) -> StateDict:
        """Weights with batch-norm statistics of a fixed, un-augmented part of the training set."""
        if not batch_norm.has_batch_norm(self.model):
            return weights
        if self._calibration is None:
            workers = self.runtime.num_workers
            inputs = data_batches.calibration(self.data, CALIBRATION_EXAMPLES, workers)
            self._calibration = inputs.to(self.device)
        chunk = max(1, CALIBRATION_VALUES // math.prod(self.data.input_shape))
        return batch_norm.reset(
            self.model, dict(weights), self._calibration, chunk_size=chunk, autocast=self.autocast
        )
