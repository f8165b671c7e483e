"""Losses and correctness of outputs, by the loss of the data set.

- `cross_entropy`: one logit per class, labels are classes; in nats.
- `logistic`: one logit, labels are 0 and 1; in nats. The class is 1 where the logit is positive.
- `squared`: one number, labels are numbers; no number is right or wrong, so there is no accuracy.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from isthmus.data.splits import Loss


def mean_loss(loss: Loss, outputs: Tensor, labels: Tensor) -> Tensor:
    """The mean loss of a batch.

    Args:
        loss: which.
        outputs: (batch, outputs).
        labels: (batch,).
    """
    match loss:
        case "cross_entropy":
            return F.cross_entropy(outputs, labels)
        case "logistic":
            return F.binary_cross_entropy_with_logits(outputs[:, 0], labels.to(outputs.dtype))
        case "squared":
            return F.mse_loss(outputs[:, 0], labels.to(outputs.dtype))


def example_losses(loss: Loss, outputs: Tensor, labels: Tensor) -> Tensor:
    """The loss of every example for several networks, (models, batch).

    Args:
        loss: which.
        outputs: (models, batch, outputs).
        labels: (batch,).
    """
    models, batch, _ = outputs.shape
    if loss == "cross_entropy":
        flat = F.cross_entropy(outputs.flatten(0, 1), labels.repeat(models), reduction="none")
        return flat.view(models, batch)
    targets = labels.to(outputs.dtype).expand(models, batch)
    if loss == "logistic":
        return F.binary_cross_entropy_with_logits(outputs[..., 0], targets, reduction="none")
    return F.mse_loss(outputs[..., 0], targets, reduction="none")


def is_correct(loss: Loss, outputs: Tensor, labels: Tensor) -> Tensor:
    """Correctness of each example, (..., batch) bool; all false if labels are not classes.

    Args:
        loss: which.
        outputs: (..., batch, outputs).
        labels: (batch,).
    """
    match loss:
        case "cross_entropy":
            return outputs.argmax(dim=-1) == labels
        case "logistic":
            return (outputs[..., 0] > 0) == (labels > 0)
        case "squared":
            return torch.zeros(outputs.shape[:-1], dtype=torch.bool, device=outputs.device)
