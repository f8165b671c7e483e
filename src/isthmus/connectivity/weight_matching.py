"""Alignment of one network with another by their weights alone."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from isthmus import chance
from isthmus.connectivity.groups import Group
from isthmus.connectivity.permutations import identity, permuted
from isthmus.state_dicts import StateDict

LEAST_GAIN = 1e-12  # of the product of the norms; a smaller one may be rounding


def match(start: StateDict, end: StateDict, groups: Sequence[Group], seed: int = 0) -> list[Tensor]:
    """Permutations that bring the parameters of `end` close to those of `start`.

    Weight matching by coordinate descent (Ainsworth et al., 2023, algorithm 1): group after group,
    in an order drawn anew for each sweep, gets the permutation that is best while the others stay,
    until a sweep changes nothing. The sum of products of all permuted parameters never decreases,
    so the L2 distance of the two networks never grows. Running statistics take no part.

    The descent ends in a local optimum. So, unlike the paper's, it begins with one pass forward in
    which a group is matched by those tensors whose other units are matched already, or with the
    units as they are if that is closer: for MLPs and ResNets trained on the digits this came
    closer than each of five orders from the units as they are, and to the same for all orders.

    Args:
        start: weights that stay as they are.
        end: weights of the same architecture, to be permuted.
        groups: of that architecture, as `groups.find` returns them.
        seed: of the orders.

    Returns:
        For each group (units,) integers, as `permutations.permuted` takes them for `end`.

    Raises:
        ValueError: a parameter is not finite, or one of the state dicts lacks it.
    """
    groups = [_of_parameters(group) for group in groups]
    fixed, moved = (_in_float64(which, groups) for which in (start, end))
    found, moved = _first(fixed, moved, groups)
    stream = chance.generator(seed, "weight_matching")
    changed = True
    while changed:
        changed = False
        for k in torch.randperm(len(groups), generator=stream).tolist():
            better = _best(fixed, moved, groups[k])
            if _gain(fixed, moved, groups[k], better) > 0:
                moved = permuted(moved, groups[k : k + 1], [better])
                found[k] = found[k][better]
                changed = True
    return found


def _of_parameters(group: Group) -> Group:
    return replace(group, axes=tuple(axis for axis in group.axes if axis.trained))


def _in_float64(state_dict: StateDict, groups: Sequence[Group]) -> dict[str, Tensor]:
    """Only the tensors that take part, on the CPU."""
    weights: dict[str, Tensor] = {}
    for name in dict.fromkeys(axis.name for group in groups for axis in group.axes):
        if name not in state_dict:
            raise ValueError(f"state_dict: has no {name}, which has hidden units")
        weights[name] = state_dict[name].detach().cpu().double()
        if not weights[name].isfinite().all():
            raise ValueError(f"state_dict: {name} is not finite")
    return weights


def _first(
    fixed: StateDict, moved: dict[str, Tensor], groups: Sequence[Group]
) -> tuple[list[Tensor], dict[str, Tensor]]:
    """Where the descent begins: the permutations of a pass forward, or none if that is closer."""
    found, ahead = identity(groups), moved
    for k, group in enumerate(groups):
        unmatched = {(axis.name, axis.dim) for later in groups[k:] for axis in later.axes}
        axes = tuple(axis for axis in group.axes if (axis.name, 1 - axis.dim) not in unmatched)
        found[k] = _best(fixed, ahead, replace(group, axes=axes))
        ahead = permuted(ahead, [group], found[k : k + 1])
    gain = sum(float((fixed[name] * (ahead[name] - moved[name])).sum()) for name in fixed)
    return (found, ahead) if gain > 0 else (identity(groups), moved)


def _best(fixed: StateDict, moved: StateDict, group: Group) -> Tensor:
    """The permutation of one group with the largest sum of products."""
    products = torch.zeros(group.size, group.size, dtype=torch.float64)
    for axis in group.axes:
        products += axis.rows(fixed[axis.name]) @ axis.rows(moved[axis.name]).T
    _, columns = linear_sum_assignment(products.numpy(), maximize=True)
    return torch.from_numpy(columns)


def _gain(fixed: StateDict, moved: StateDict, group: Group, permutation: Tensor) -> float:
    """By how much the sum of products grows; 0 where that may be rounding.

    Counted anew, because `_best` takes one axis of a tensor to stay while the other changes, which
    is not so where a layer reads and makes the same units.
    """
    names = {axis.name for axis in group.axes}
    after = permuted({name: moved[name] for name in names}, [group], [permutation])
    gain = size = 0.0
    for name in sorted(names):
        gain += float((fixed[name] * (after[name] - moved[name])).sum())
        size += float(fixed[name].norm() * moved[name].norm())
    return gain if gain > LEAST_GAIN * size else 0.0
