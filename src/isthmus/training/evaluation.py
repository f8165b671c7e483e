"""Evaluation: loss and accuracy of many networks of one architecture on one split."""

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
from isthmus.training import losses

MANY, SMALL = 8, 100_000  # networks, and parameters of each, for which vmap was faster


@dataclass(frozen=True)
class Evaluation:
    """Loss, accuracy and correctness of several networks on one split."""

    loss: Tensor  # (models,) float64, mean cross-entropy in nats, or what the data set has instead
    accuracy: Tensor  # (models,) float64, fraction in [0, 1]; nan where labels are numbers
    correct: Tensor  # (models, examples) bool, in the order of the batches


@torch.no_grad()
def evaluate(
    model: nn.Module,
    weights: Sequence[StateDict],
    batches: Iterable[tuple[Tensor, Tensor]],
    autocast: torch.dtype | None = None,
    loss: Loss = "cross_entropy",
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

    with evaluation_mode(model):
        return measure_network(logits, batches, autocast, loss)


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
) -> Evaluation:
    """Loss and accuracy of a function from inputs to logits.

    Args:
        logits: from (batch, *input_shape) to (models, batch, classes).
        batches: inputs (batch, *input_shape), labels (batch,).
        autocast: type of the matrix products, or None for the weights' own.
        loss: that of the data set.
    """
    sums, correct = [], []
    for inputs, labels in batches:
        with torch.autocast(inputs.device.type, dtype=autocast, enabled=autocast is not None):
            outputs = logits(inputs)
        sums.append(_sum_of_losses(outputs.float(), labels, loss))
        correct.append(losses.is_correct(loss, outputs, labels))  # (models, batch)
    hits = torch.cat(correct, dim=1)  # (models, examples)
    accuracy = hits.double().mean(dim=1)
    return Evaluation(
        loss=torch.stack(sums).sum(dim=0) / hits.shape[1],
        accuracy=accuracy.fill_(torch.nan) if loss == "squared" else accuracy,
        correct=hits,
    )


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


def _sum_of_losses(outputs: Tensor, labels: Tensor, loss: Loss) -> Tensor:
    """Losses summed over a batch in float64: (models, batch, outputs) -> (models,).

    One sum per model: its last bit does not depend on which others are evaluated with it.
    """
    each = losses.example_losses(loss, outputs, labels)
    return torch.stack([row.sum() for row in each.double()])


def _is_vmap_faster(model: nn.Module, weights: Sequence[StateDict]) -> bool:
    convolutions = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
    has_convolutions = any(isinstance(module, convolutions) for module in model.modules())
    small = sum(parameter.numel() for parameter in model.parameters()) <= SMALL
    return len(weights) >= MANY and small and not has_convolutions
