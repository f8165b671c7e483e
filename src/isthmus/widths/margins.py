"""Margins of a network of one hidden layer on two classes (Chizat and Bach, 2020)."""

import torch
from torch import Tensor, nn

from isthmus.widths import layers


def are_defined(model: nn.Module) -> bool:
    """Whether a network has one hidden layer and one output."""
    found = layers.of(model)
    return len(found) == 2 and found[1].fan_out == 1


@torch.no_grad()
def of(model: nn.Module, outputs: Tensor, labels: Tensor) -> dict[str, float]:
    """How far examples are on the right side, over the size of the network.

    With y of -1 and 1 the margin is min y f. The size is beta = 1/m (|a|^2 + |W|^2 + |b|^2) of the
    network 1/m sum_j a_j act(w_j x + b_j), 2 where units and outputs are of size 1; margins over
    beta are normalized. The smoothed ones become the normalized one as beta grows.

    Args:
        model: of one hidden layer and one output.
        outputs: (examples, 1).
        labels: (examples,) of 0 and 1.

    Returns:
        `beta`, `margin`, `margin_normalized`, `margin_exponential`, `margin_logistic`, and `auc`,
        the probability that an example of class 1 has a larger output than one of class 0; the last
        is missing where a class is.
    """
    hidden, output = layers.of(model)
    units = [p for _, p in model.get_submodule(hidden.name).named_parameters()]
    a = output.width * model.get_parameter(f"{output.name}.weight")
    beta = float(sum((each.double() ** 2).sum() for each in [a, *units])) / output.width
    f = outputs[:, 0].double()
    on_right_side = (2 * labels.double() - 1) * f  # (examples,)
    exponential = torch.log(torch.tensor(len(f)).double()) - torch.logsumexp(-on_right_side, 0)
    logistic = -nn.functional.softplus(-on_right_side).mean().log()
    found = {
        "beta": beta,
        "margin": float(on_right_side.min()),
        "margin_normalized": float(on_right_side.min()) / beta,
        "margin_exponential": float(exponential) / beta,
        "margin_logistic": float(logistic) / beta,
    }
    positive, negative = f[labels > 0], f[labels == 0]
    if len(positive) and len(negative):
        above = (positive[:, None] - negative).sign().mean()
        found["auc"] = float((1 + above) / 2)
    return found
