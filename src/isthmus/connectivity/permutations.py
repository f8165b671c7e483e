"""Networks that compute the same function with their hidden units in another order."""

from collections.abc import Sequence

import torch
from torch import Tensor

from isthmus import chance
from isthmus.connectivity.groups import Group
from isthmus.state_dicts import StateDict


def permuted(
    state_dict: StateDict, groups: Sequence[Group], permutations: Sequence[Tensor]
) -> dict[str, Tensor]:
    """The same network with its hidden units in another order.

    Args:
        state_dict: weights of the model whose `groups` these are; not changed.
        groups: as `groups.find` returns them.
        permutations: for each group (units,) integers, the unit that takes each place.

    Returns:
        A state dict of the same keys, types and devices; tensors without hidden units are those of
        `state_dict`.

    Raises:
        ValueError: there are more or fewer permutations than groups, one is no permutation of its
            group's units, or `state_dict` lacks a tensor of a group.
    """
    if len(permutations) != len(groups):
        raise ValueError(f"permutations: one a group, got {len(permutations)} for {len(groups)}")
    result = dict(state_dict)
    for group, permutation in zip(groups, permutations, strict=True):
        if not torch.equal(permutation.sort().values.cpu(), torch.arange(group.size)):
            raise ValueError(
                f"permutations: {group.name} needs each of 0 to {group.size - 1} once, "
                f"got {permutation.tolist()}"
            )
        for axis in group.axes:
            if axis.name not in result:
                raise ValueError(f"state_dict: has no {axis.name}, which has hidden units")
            tensor = result[axis.name]
            index = torch.arange(tensor.shape[axis.dim])
            index[axis.positions] = axis.positions[permutation.cpu()]
            result[axis.name] = tensor.index_select(axis.dim, index.to(tensor.device))
    return result


def identity(groups: Sequence[Group]) -> list[Tensor]:
    """The permutations that leave every unit where it is."""
    return [torch.arange(group.size) for group in groups]


def draw(groups: Sequence[Group], seed: int) -> list[Tensor]:
    """Independent permutations, each of all those of its group equally likely."""
    stream = chance.generator(seed, "permutations")
    return [torch.randperm(group.size, generator=stream) for group in groups]
