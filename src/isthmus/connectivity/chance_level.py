"""Detects networks at chance level, no better than a uniform guess: their lines mean nothing.

Imports no torch.
"""

import math
from collections.abc import Mapping, Sequence

MARGIN = 1e-3  # a network must be better by this fraction of the guess's loss
LISTED = 3  # networks named in the message


def is_at_chance(losses: Sequence[float], num_classes: int) -> bool:
    """Whether a network is no better than a uniform guess wherever it was evaluated.

    Args:
        losses: mean cross-entropies in nats, one per split.
        num_classes: the guess has a loss of its logarithm.
    """
    limit = (1 - MARGIN) * math.log(num_classes)
    return not any(loss < limit for loss in losses)  # nor is one whose loss is no number


def chance_warning(networks: Mapping[str, Sequence[float]], num_classes: int | None) -> str | None:
    """One line that names the networks at chance; None if there is none.

    Args:
        networks: losses by name.
        num_classes: None where it is not known.
    """
    if num_classes is None or num_classes < 2:
        return None
    names = [name for name, losses in networks.items() if is_at_chance(losses, num_classes)]
    if not names:
        return None
    further = len(names) - LISTED
    listed = ", ".join(names[:LISTED]) + (f" and {further} more" if further > 0 else "")
    loss = f"log({num_classes}) = {math.log(num_classes):.4f}"
    return f"at chance, with the loss of a uniform guess, {loss}, or more: {listed}"
