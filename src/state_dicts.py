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


def copy(state_dict: StateDict) -> dict[str, Tensor]:
    """The same values in memory of their own, out of reach of further training."""
    return {name: tensor.detach().clone() for name, tensor in state_dict.items()}


def stack(state_dicts: Sequence[StateDict]) -> dict[str, Tensor]:
    """Several networks of one architecture as one dict of tensors.

    Returns:
        Each tensor (models, *shape), in the order given.
    """
    return {
        name: torch.stack([state_dict[name] for state_dict in state_dicts])
        for name in state_dicts[0]
    }
