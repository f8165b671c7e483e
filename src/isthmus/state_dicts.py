"""Arithmetic on weights: pure functions of state dicts."""

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

StateDict = Mapping[str, Tensor]


def norm(state_dict: StateDict, names: Iterable[str]) -> Tensor:
    """L2 norm of the tensors called `names`, taken as one vector.

    Returns:
        (), on the tensors' device; not synchronised with it.
    """
    norms = torch._foreach_norm([state_dict[name] for name in names])
    return torch.linalg.vector_norm(torch.stack(norms))


def distance(first: StateDict, second: StateDict, names: Iterable[str]) -> Tensor:
    """L2 distance of two networks over the tensors called `names`.

    Returns:
        (), on the tensors' device; not synchronised with it.
    """
    names = list(names)
    differences = torch._foreach_sub([first[n] for n in names], [second[n] for n in names])
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(differences)))


def cosine(first: StateDict, second: StateDict, names: Iterable[str]) -> Tensor:
    """Cosine of the angle between two networks over the tensors called `names`, in float64.

    Returns:
        (), in [-1, 1]; not a number if one of them is zero.
    """
    products = torch.zeros(3, dtype=torch.float64)
    for name in names:
        one, other = first[name].flatten().double(), second[name].flatten().double()
        products += torch.stack([one @ other, one @ one, other @ other]).cpu()
    across, *squares = products
    cosine = across / torch.sqrt(squares[0] * squares[1])
    return cosine.clamp(-1, 1)  # beyond which rounding may take it


def copy(state_dict: StateDict) -> dict[str, Tensor]:
    """A copy in memory of its own, which further training does not change."""
    return {name: tensor.detach().clone() for name, tensor in state_dict.items()}


def stack(state_dicts: Sequence[StateDict]) -> dict[str, Tensor]:
    """Several networks of one architecture as one dict of tensors, stacked on a leading axis.

    Returns:
        Each tensor (models, *shape), in the order given.
    """
    return {
        name: torch.stack([state_dict[name] for state_dict in state_dicts])
        for name in state_dicts[0]
    }


class Mean:
    """A running weighted mean of networks, with sums in float64.

    Floating-point tensors are averaged and keep their type, all others are those of the last
    network. Memory: the sums and, while it is added, one network.
    """

    def __init__(self) -> None:
        self._weight = 0.0
        self._sums: dict[str, Tensor] = {}

    def add(self, state_dict: StateDict, weight: float = 1.0) -> None:
        """Add one network, whose tensors are read and not kept."""
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
        """The mean with one more network, which is not added."""
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
        state_dicts: (models), iterated once; none is held while the next one is made.
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
        raise ValueError(f"weights: one per network, got {len(weights)} for {count}")
    return result
