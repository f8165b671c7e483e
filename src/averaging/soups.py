"""Means of many networks that are held one at a time."""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from src.state_dicts import StateDict


class Mean:
    """A weighted mean of networks taken in one after the other, with sums in float64.

    Floating-point tensors are averaged and keep their type, all others are those of the last
    network. Memory: the sums and, while it is taken in, one network.
    """

    def __init__(self) -> None:
        self._weight = 0.0
        self._sums: dict[str, Tensor] = {}

    def add(self, state_dict: StateDict, weight: float = 1.0) -> None:
        """Take in one network, whose tensors are read and not kept."""
        self._weight += weight
        for name, tensor in state_dict.items():
            if not tensor.is_floating_point():
                continue
            if name not in self._sums:
                self._sums[name] = torch.zeros_like(tensor, dtype=torch.float64)
            self._sums[name].add_(tensor, alpha=weight)

    def state_dict(self, last: StateDict) -> dict[str, Tensor]:
        """The mean, in memory of its own; types and integers are those of `last`."""
        return {
            name: (self._sums[name] / self._weight).to(tensor.dtype)
            if name in self._sums
            else tensor.clone()
            for name, tensor in last.items()
        }

    def state_dict_with(self, state_dict: StateDict) -> dict[str, Tensor]:
        """The mean that there would be with one more network, which is not taken in."""
        weight = self._weight + 1
        return {
            name: self._sums[name].add(tensor).div_(weight).to(tensor.dtype)
            if name in self._sums
            else tensor.clone()
            for name, tensor in state_dict.items()
        }


def mean(state_dicts: Iterable[StateDict], weights: Sequence[float]) -> dict[str, Tensor]:
    """The weighted mean of networks of one architecture.

    Args:
        state_dicts: (models), gone through once; none is held while the next one is made.
        weights: (models,), with a positive sum, by which they are divided.

    Returns:
        A state dict in memory of its own; integers are those of the last network.

    Raises:
        ValueError: there are more or fewer networks than weights, or none, or the sum of the
            weights is not positive.
    """
    if not sum(weights) > 0:
        raise ValueError(f"weights: their sum must be positive, got {sum(weights):g}")
    sums, count, result = Mean(), 0, None
    for state_dict in state_dicts:  # zip and enumerate would hold it while the next one is made
        if count < len(weights):
            sums.add(state_dict, weights[count])
        count += 1
        if count == len(weights):
            result = sums.state_dict(state_dict)
        del state_dict
    if result is None or count != len(weights):
        raise ValueError(f"weights: one a network, got {len(weights)} for {count}")
    return result


def ema_weights(num_models: int, decay: float) -> list[float]:
    """Shares of networks in their exponential moving average, which starts from the first.

    Args:
        num_models: at least 1.
        decay: in [0, 1), the share that the average keeps at each further network.

    Returns:
        (models,), with a sum of 1.
    """
    later = [(1 - decay) * decay**age for age in reversed(range(num_models - 1))]
    return [decay ** (num_models - 1), *later]


def greedy_soup(
    load: Callable[[int], StateDict],
    score: Callable[[dict[str, Tensor], int], float],
    scores: Sequence[float],
) -> list[int]:
    """Ingredients of a greedy soup (Wortsman et al., 2022, recipe 1).

    In order of decreasing score, the earlier of two equal ones first, each ingredient is kept if
    the mean with it scores no worse than the one without, so the soup never ends below its best
    ingredient. Memory: the sum of those kept and one network.

    Args:
        load: the network at a position, read anew at each call.
        score: of a mean and the position of its last ingredient, the higher the better.
        scores: (models,), of each ingredient alone.

    Returns:
        Positions of those kept, in the order in which they were; the best ingredient first.

    Raises:
        ValueError: there are no ingredients.
    """
    if not scores:
        raise ValueError("scores: a soup needs at least one ingredient, got none")
    first, *others = sorted(range(len(scores)), key=lambda position: -scores[position])
    kept, best, sums = [first], scores[first], Mean()
    sums.add(load(first))
    for position in others:
        value = score(sums.state_dict_with(load(position)), position)
        if value >= best:
            kept.append(position)
            best = value
            sums.add(load(position))
    return kept
