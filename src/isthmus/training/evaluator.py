"""Evaluator of weights of one architecture on one data set, for a session or saved weights."""

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from isthmus.data import batches
from isthmus.data import splits as data_splits
from isthmus.data.batches import EvalBatches
from isthmus.data.splits import DataSet
from isthmus.data.streams import StreamedEvalBatches
from isthmus.models import structure
from isthmus.state_dicts import StateDict
from isthmus.training import batch_norm, effects, rebuild, recipe, weight_files
from isthmus.training.distributed import Processes
from isthmus.training.evaluation import Evaluation, evaluate
from isthmus.training.metrics import METRICS
from isthmus.training.options import Runtime, SavedOptions
from isthmus.training.rebuild import Metadata
from isthmus.training.recipe import resolve_device

log = logging.getLogger(__name__)

CALIBRATION_EXAMPLES = 2048  # on which batch-norm statistics are estimated
CALIBRATION_VALUES = 2**23  # input values in one pass of it: all of it, up to 36 x 36 pixels
BATCH_VALUES = 2**20  # input values in one batch of an evaluation
BATCH_VALUES_CPU = 3 * 2**17  # 128 images of 3 x 32 x 32; with 341, convolutions leave the cache


class Evaluator:
    """Evaluates weights of one model on one data set, on one device.

    Args:
        model: the architecture; its own weights and mode are left as they are.
        data: the data set; a split is moved to the device when it is first needed.
        device: where the model is.
        runtime: memory format and number of workers.
        precision: "fp32", or "bf16" for matrix products in bfloat16.
        processes: that evaluate together, each its share of every split; or None.
    """

    def __init__(
        self,
        model: nn.Module,
        data: DataSet,
        device: torch.device,
        runtime: Runtime,
        precision: str = "fp32",
        processes: Processes | None = None,
    ) -> None:
        self.processes = processes
        self.model, self.data, self.device = model, data, device
        self.runtime = recipe.runtime_for(runtime, model, device)
        self.autocast = torch.bfloat16 if precision == "bf16" else None
        self._splits: dict[str, EvalBatches | StreamedEvalBatches] = {}
        self._calibration: Tensor | None = None
        self._logged: set[str] = set()

    def load(self, file: Path, allow_nonfinite: bool = False) -> dict[str, Tensor]:
        """Load the weights in a file for this model, on the CPU; adaptations are logged once.

        Args:
            file: of weights.
            allow_nonfinite: whether weights may be infinite or not a number.

        Raises:
            FileNotFoundError: naming the weights that are there.
            ValueError: they do not fit the model, see `weight_files.fit`.
        """
        return weight_files.load(file, self.model, allow_nonfinite, self._log_once)

    def _log_once(self, line: str) -> None:
        if line not in self._logged:
            self._logged.add(line)
            log.info(line)

    @property
    def batch_size(self) -> int:
        """Examples in each batch of a split except the last."""
        values = BATCH_VALUES_CPU if self.device.type == "cpu" else BATCH_VALUES
        return min(1000, max(32, values // math.prod(self.data.input_shape)))

    def evaluate(
        self, models: Mapping[str, StateDict], split: str, reference: StateDict | None = None
    ) -> Evaluation:
        """Evaluate weights on a split, un-augmented and in its fixed order.

        Args:
            models: weights by name.
            split: of the data.
            reference: weights that metrics with a reference compare with.
        """
        weights, loss = list(models.values()), self.data.loss
        part = evaluate(self.model, weights, self.batches(split), self.autocast, loss, reference)
        processes = self._sharers(split)
        return (
            processes.gather_evaluation(part, len(self.data.splits[split])) if processes else part
        )

    def batches(self, split: str) -> EvalBatches | StreamedEvalBatches:
        """Batches of a split, un-augmented and in its fixed order; can be reiterated.

        Of a split that several processes evaluate, the share of this one.
        """
        if split not in self._splits:
            examples = self.data.splits[split]
            if processes := self._sharers(split):
                share = processes.share(len(examples))
                examples = examples.take(torch.arange(share.start, share.stop))
            self._splits[split] = batches.eval_batches(
                examples,
                self.data.normalization,
                batch_size=self.batch_size,
                device=self.device,
                channels_last=self.runtime.channels_last,
                num_workers=self.runtime.num_workers,
            )
        return self._splits[split]

    def _sharers(self, split: str) -> Processes | None:
        """The processes that share the evaluation of a split, if each gets an example."""
        enough = self.processes and len(self.data.splits[split]) >= self.processes.size
        of_parts = all(metric.is_mean for metric in METRICS)
        return self.processes if enough and of_parts else None

    def check_splits(self, splits: Sequence[str]) -> None:
        """Refuse splits that the data set does not have.

        Raises:
            ValueError: naming the first.
        """
        for split in splits:
            if split not in self.data.splits:
                raise ValueError(f"splits={split}: this data set has {', '.join(self.data.splits)}")

    def table(
        self,
        models: Mapping[str, StateDict],
        splits: Sequence[str] | None = None,
        reference: StateDict | None = None,
    ) -> dict[str, dict[str, dict[str, float]]]:
        """All metrics that mean something, by model, then by split.

        Args:
            models: weights by name.
            splits: train, val, test, or None for all that the data set has.
            reference: weights that metrics with a reference compare with.

        Raises:
            ValueError: the data set has no such split.
        """
        self.check_splits(splits or [])
        rows: dict[str, dict[str, dict[str, float]]] = {name: {} for name in models}
        for split in splits or list(self.data.splits):
            result = self.evaluate(models, split, reference)
            names = self.metric_names(reference is not None)
            columns = [result.numbers[name].tolist() for name in names]
            for model, *numbers in zip(models, *columns, strict=True):
                rows[model][split] = dict(zip(names, numbers, strict=True))
        return rows

    def metric_names(self, has_reference: bool = False) -> list[str]:
        """The metrics that mean something for this data set."""
        loss = self.data.loss
        return [metric.name for metric in METRICS if metric.applies(loss, has_reference)]

    def with_bn_statistics(self, weights: StateDict, last: StateDict, bn: str) -> StateDict:
        """Combined weights, on the device, with batch-norm statistics by the option `bn`.

        Args:
            weights: combined from several networks, statistics like all else.
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
        chunk = self._calibration_chunk
        return batch_norm.reset_statistics(
            self.model, dict(weights), self.calibration, chunk_size=chunk, autocast=self.autocast
        )

    @property
    def calibrates_at_once(self) -> bool:
        """Whether one pass estimates all batch-norm statistics; else the inputs are too large."""
        return min(CALIBRATION_EXAMPLES, len(self.data.train)) <= self._calibration_chunk

    @property
    def _calibration_chunk(self) -> int:
        return max(1, CALIBRATION_VALUES // math.prod(self.data.input_shape))

    @property
    def calibration(self) -> Tensor:
        """The part of the training set on which batch-norm statistics are estimated."""
        if self._calibration is None:
            workers = self.runtime.num_workers
            inputs = batches.calibration(self.data, CALIBRATION_EXAMPLES, workers)
            self._calibration = inputs.to(self.device)
        return self._calibration


def saved_evaluator(
    metadata: Metadata,
    options: SavedOptions,
) -> Evaluator:
    """Build the evaluator of saved weights, by default on the data that they were trained on.

    Args:
        metadata: of the weights.
        options: with another data set, the device, the precision.

    Raises:
        ValueError: the model or the data cannot be rebuilt, the data does not fit the model, or
            there is no such device.
    """
    typed = options.dataset_typed
    data = rebuild.load_data_set(options.dataset, typed, metadata, options.cache_dir)
    data = _as_trained(data, typed, metadata)
    device = resolve_device(options.runtime.device)
    model = rebuild.build_model(metadata)
    structure.check_initialized(model)
    effects.log_modes_without_effect(options, model)
    model = model.to(device)
    example = torch.zeros(1, *data.input_shape, device=device)
    structure.check_outputs(model, example, data.num_classes)
    precision = options.precision or metadata["config"]["precision"]
    return Evaluator(model, data, device, options.runtime, precision)


def _as_trained(data: DataSet, typed: Sequence[str], metadata: Metadata) -> DataSet:
    """A data set with the classes and the normalization of the training."""
    shape, expected = list(data.input_shape), list(metadata["input_shape"])
    classes, normalization = metadata.get("classes"), metadata.get("normalization")
    if shape == expected and classes is not None and data.has_accuracy:
        data = data_splits.with_classes(data, classes)
    if shape != expected or data.num_classes != metadata["num_classes"]:
        raise ValueError(
            f"dataset: inputs of shape {shape} in {data.num_classes} classes do not fit this "
            f"model, which takes inputs of shape {expected} in {metadata['num_classes']} classes"
        )
    if normalization is None or {"mean", "std"} & set(typed):
        return data
    if normalization["scale"] != data.normalization.scale:
        return data  # stored on another scale than in training: the numbers would not fit
    return data_splits.with_normalization(data, normalization["mean"], normalization["std"])
