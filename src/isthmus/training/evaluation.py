"""Evaluation: all metrics of many networks of one architecture on one split."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call

from isthmus import state_dicts
from isthmus.data.splits import Loss
from isthmus.models.structure import tied_names
from isthmus.state_dicts import StateDict
from isthmus.training import metrics
from isthmus.training.metrics import METRIC_NAMES, METRICS

MANY, SMALL = 8, 100_000  # networks, and parameters of each, for which vmap was faster


@dataclass(frozen=True)
class Evaluation:
    """All metrics, and correctness, of several networks on one split."""

    numbers: dict[str, Tensor]  # by metric, (models,) float64; nan where it means nothing
    correct: Tensor  # (models, examples) bool, in the order of the batches

    @property
    def loss(self) -> Tensor:
        """(models,) float64, mean cross-entropy in nats, or what the data set has instead."""
        return self.numbers["loss"]

    @property
    def accuracy(self) -> Tensor:
        """(models,) float64, fraction in [0, 1]; nan where labels are numbers."""
        return self.numbers["accuracy"]


@torch.no_grad()
def evaluate(
    model: nn.Module,
    weights: Sequence[StateDict],
    batches: Iterable[tuple[Tensor, Tensor]],
    autocast: torch.dtype | None = None,
    loss: Loss = "cross_entropy",
    reference: StateDict | None = None,
) -> Evaluation:
    """Evaluate several sets of weights of one model, in evaluation mode.

    The data is iterated once. Many small fully connected networks are evaluated together with
    vmap, others one after the other, which was faster for them (bench/README.md).

    Args:
        model: the architecture; its own weights, mode and buffers are left as they are.
        weights: (models) state dicts on the model's device.
        batches: inputs (batch, *input_shape), labels (batch,).
        autocast: type of the matrix products, or None for the weights' own.
        loss: that of the data set.
        reference: weights that metrics with a reference compare with.

    Raises:
        ValueError: some weights lack a tensor that the model has.
    """
    for each in weights:  # torch would take the model's own values for what is missing
        if missing := [name for name in model.state_dict() if name not in each]:
            raise ValueError(f"weights: lack {', '.join(missing)}, which the model has")
    stacked = state_dicts.stack(weights) if _is_vmap_faster(model, weights) else None

    def logits(inputs: Tensor) -> Tensor:
        if stacked is not None:
            return logits_together(model, stacked, inputs)
        return logits_apart(model, weights, inputs)

    def reference_logits(inputs: Tensor) -> Tensor:
        return logits_apart(model, [reference or {}], inputs)[0]

    with evaluation_mode(model):
        of_reference = None if reference is None else reference_logits
        return measure_network(logits, batches, autocast, loss, of_reference)


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Set a model to evaluation mode, and back to its mode afterwards."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


@torch.no_grad()
def measure_network(
    logits: Callable[[Tensor], Tensor],
    batches: Iterable[tuple[Tensor, Tensor]],
    autocast: torch.dtype | None = None,
    loss: Loss = "cross_entropy",
    reference: Callable[[Tensor], Tensor] | None = None,
) -> Evaluation:
    """All metrics of a function from inputs to logits, in one pass over the batches.

    Args:
        logits: from (batch, *input_shape) to (models, batch, classes).
        batches: inputs (batch, *input_shape), labels (batch,).
        autocast: type of the matrix products, or None for the weights' own.
        loss: that of the data set.
        reference: from inputs to logits, (batch, classes), that some metrics compare with.
    """
    measured = [metric for metric in METRICS if metric.applies(loss, reference is not None)]
    means = [metric for metric in measured if metric.is_mean]
    sums: dict[str, list[Tensor]] = {metric.name: [] for metric in means}
    correct, kept = [], []  # of each batch
    for inputs, labels in batches:
        with torch.autocast(inputs.device.type, dtype=autocast, enabled=autocast is not None):
            outputs = logits(inputs)
            of_reference = None if reference is None else reference(inputs)
        hits = metrics.is_correct(outputs, labels, loss, None)  # (models, batch)
        correct.append(hits)
        for metric in means:
            is_known = metric is metrics.ACCURACY
            values = hits if is_known else metric.measure(outputs, labels, loss, of_reference)
            sums[metric.name].append(_sum_by_model(values))
        if len(means) < len(measured):
            kept.append((outputs, labels, of_reference))
    all_hits = torch.cat(correct, dim=1)  # (models, examples)
    count = all_hits.shape[1]
    numbers = {name: torch.stack(parts).sum(dim=0) / count for name, parts in sums.items()}
    if kept:
        outputs, labels = torch.cat([k[0] for k in kept], dim=1), torch.cat([k[1] for k in kept])
        references = [k[2] for k in kept if k[2] is not None]
        of_reference = torch.cat(references) if references else None
        for metric in measured:
            if not metric.is_mean:
                value = metric.measure(outputs, labels, loss, of_reference)
                numbers[metric.name] = value.double()
    nothing = torch.full((len(all_hits),), torch.nan, dtype=torch.float64, device=all_hits.device)
    by_name = {name: numbers.get(name, nothing) for name in METRIC_NAMES}
    return Evaluation(by_name, all_hits)


def logits_apart(model: nn.Module, weights: Sequence[StateDict], inputs: Tensor) -> Tensor:
    """Logits of several networks, one after the other: (models, batch, classes)."""
    ties = tied_names(model)
    return torch.stack([functional_call(model, _without_ties(w, ties), (inputs,)) for w in weights])


def logits_together(model: nn.Module, stacked: StateDict, inputs: Tensor) -> Tensor:
    """Logits of several networks by vmap, from stacked weights: (models, batch, classes)."""

    def logits(weights: dict[str, Tensor]) -> Tensor:
        return functional_call(model, weights, (inputs,))

    return torch.vmap(logits)(_without_ties(stacked, tied_names(model)))


def _without_ties(weights: StateDict, ties: Mapping[str, str]) -> dict[str, Tensor]:
    """Weights without the further names of tied tensors; torch sets them by the first name."""
    return {name: tensor for name, tensor in weights.items() if name not in ties}


def _sum_by_model(values: Tensor) -> Tensor:
    """Values of a batch summed in float64: (models, batch) -> (models,).

    One sum per model: its last bit does not depend on which others are evaluated with it.
    """
    if values.dtype == torch.bool:  # a count is exact
        return values.sum(dim=1).double()
    return torch.stack([row.sum() for row in values.double()])


def _is_vmap_faster(model: nn.Module, weights: Sequence[StateDict]) -> bool:
    convolutions = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
    has_convolutions = any(isinstance(module, convolutions) for module in model.modules())
    small = sum(parameter.numel() for parameter in model.parameters()) <= SMALL
    return len(weights) >= MANY and small and not has_convolutions
