"""Pairs the hidden units of two networks, by weights or by activations."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from isthmus import rng
from isthmus.connectivity import interpolation, permutation_spec
from isthmus.connectivity.permutation_spec import PermutationGroup, identity_permutations, permute
from isthmus.connectivity.tracing import chunks, load_network, parameter_device
from isthmus.models import structure
from isthmus.state_dicts import StateDict


def match_activations(
    model: nn.Module,
    start: StateDict,
    end: StateDict,
    groups: Sequence[PermutationGroup],
    inputs: Tensor,
    chunk_size: int = 500,
) -> list[Tensor]:
    """Permutations that pair the units of `end` with those of `start` that they correlate with.

    Each group gets the permutation with the largest sum of correlations (Li et al., 2016; Jordan
    et al., 2023, section 2). Groups do not depend on each other.

    Args:
        model: the architecture, on the device on which to compute; it is left as it is.
        start: weights of the network that stays as it is.
        end: weights of the network to be permuted.
        groups: of that architecture, as `find_groups` returns them.
        inputs: (examples, ...), normalized and not augmented, on any device.
        chunk_size: examples in one forward pass, at least 1.

    Returns:
        For each group (units,) integers, as `permute` takes them for `end`.

    Raises:
        ValueError: `chunk_size` is below 1, there are no `inputs`, or activations are not finite.
    """
    permutations = []
    matrices = correlations(model, start, end, groups, inputs, chunk_size)
    for group, matrix in zip(groups, matrices, strict=True):
        if not matrix.isfinite().all():
            raise ValueError(f"inputs: the activations of {group.name} are not finite on them")
        _, columns = linear_sum_assignment(matrix.numpy(), maximize=True)
        permutations.append(torch.from_numpy(columns))
    return permutations


@torch.no_grad()
def correlations(
    model: nn.Module,
    start: StateDict,
    end: StateDict,
    groups: Sequence[PermutationGroup],
    inputs: Tensor,
    chunk_size: int = 500,
) -> list[Tensor]:
    """Correlation of each unit of one network with each of another, on the same inputs.

    Activations are what linear and convolutional layers read: after normalization, activation and
    pooling, and for a residual stream after each sum. The examples, and the positions of an image,
    are the samples. Where a group is read at several places, as a residual stream is, this is the
    mean of the correlations there. A unit that is constant correlates with none.

    Memory: the activations of one chunk, and a matrix for each place.

    Args:
        model, start, end, groups, inputs, chunk_size: as in `match_activations`.

    Returns:
        For each group (units of start, units of end) float64, on the CPU; not a number where
        activations are not finite.

    Raises:
        ValueError: `chunk_size` is below 1, or there are no `inputs`.
    """
    batches = chunks(inputs, chunk_size)
    names = sorted({axis.name for group in groups for axis in group.inputs})
    both = [_InputRecorder(model, weights, names) for weights in (start, end)]
    moments = [[_CrossMoments() for _ in group.inputs] for group in groups]
    for chunk in batches:
        first, second = (recorder.record(chunk) for recorder in both)
        for group, reads in zip(groups, moments, strict=True):
            for axis, moment in zip(group.inputs, reads, strict=True):
                # Channels are axis 1 of activations as they are of the weight that reads them.
                for one, other in zip(first[axis.name], second[axis.name], strict=True):
                    moment.add(axis.rows(one), axis.rows(other))
    matrices = []
    for group, reads in zip(groups, moments, strict=True):
        total = torch.zeros(group.size, group.size, dtype=torch.float64)
        for read in reads:
            total += read.correlations() / len(reads)
        matrices.append(total)
    return matrices


class _InputRecorder:
    """Records what the layers with given weights read in a forward pass."""

    def __init__(self, model: nn.Module, weights: StateDict, names: Sequence[str]) -> None:
        self._model = load_network(model, weights)
        self._read: dict[str, list[Tensor]] = {name: [] for name in names}
        for name in names:
            layer = self._model.get_submodule(name.rpartition(".")[0])
            layer.register_forward_pre_hook(lambda _, args, name=name: self._note(name, args[0]))

    def _note(self, name: str, values: Tensor) -> None:
        self._read[name].append(values)

    def record(self, inputs: Tensor) -> dict[str, list[Tensor]]:
        """By name of a weight, (batch, channels, ...) for each use of its layer."""
        for values in self._read.values():
            values.clear()
        self._model(inputs.to(parameter_device(self._model)))
        return self._read


class _CrossMoments:
    """Means, variances and covariances of two sets of units, in parts (Chan et al., 1979)."""

    def __init__(self) -> None:
        self._count = 0
        zero = torch.zeros((), dtype=torch.float64)
        self._means, self._squares, self._products = [zero, zero], [zero, zero], zero

    def add(self, first: Tensor, second: Tensor) -> None:
        """Take in samples, (units, samples) of each set."""
        count = first.shape[1]
        total = self._count + count
        weight = self._count * count / total
        centered, shifts = [], []
        for side, samples in enumerate((first, second)):
            if samples.dtype in (torch.float16, torch.bfloat16):
                samples = samples.float()
            mean = samples.mean(dim=1)
            rest = samples - mean[:, None]
            shift = mean.cpu().double() - self._means[side]
            squares = rest.square().sum(dim=1).cpu().double()
            self._means[side] = self._means[side] + shift * (count / total)
            self._squares[side] = self._squares[side] + squares + weight * shift.square()
            centered.append(rest)
            shifts.append(shift)
        products = (centered[0] @ centered[1].T).cpu().double()
        self._products = self._products + products + weight * torch.outer(*shifts)
        self._count = total

    def correlations(self) -> Tensor:
        """(units of the first set, units of the second); 0 where one of them is constant."""
        scale = torch.outer(*self._squares).sqrt()
        return torch.where(scale == 0, 0, self._products / scale)


LEAST_GAIN = 1e-12  # of the product of the norms; a smaller one may be rounding


def match_weights(
    start: StateDict, end: StateDict, groups: Sequence[PermutationGroup], seed: int = 0
) -> list[Tensor]:
    """Permutations that bring the parameters of `end` close to those of `start`.

    Weight matching by coordinate descent (Ainsworth et al., 2023, algorithm 1): group after group,
    in an order drawn again for each sweep, gets the permutation that is best while the others stay,
    until a sweep changes nothing. The sum of products of all permuted parameters never decreases,
    so the L2 distance of the two networks never grows. Running statistics take no part.

    The descent ends in a local optimum. So, unlike the paper's, it begins with one pass forward in
    which a group is matched by those tensors whose other units are matched already, or with the
    units as they are if that is closer: for MLPs and ResNets trained on the digits this came
    closer than each of five orders from the units as they are, and to the same for all orders.

    Args:
        start: weights that stay as they are.
        end: weights of the same architecture, to be permuted.
        groups: of that architecture, as `find_groups` returns them.
        seed: of the orders.

    Returns:
        For each group (units,) integers, as `permute` takes them for `end`.

    Raises:
        ValueError: a parameter is not finite, or one of the state dicts lacks it.
    """
    groups = [_parameters_only(group) for group in groups]
    fixed, moved = (_in_float64(which, groups) for which in (start, end))
    permutations, moved = _match_forward(fixed, moved, groups)
    stream = rng.generator(seed, "weight_matching")
    changed = True
    while changed:
        changed = False
        for k in torch.randperm(len(groups), generator=stream).tolist():
            better = _best(fixed, moved, groups[k])
            if _gain(fixed, moved, groups[k], better) > 0:
                moved = permute(moved, groups[k : k + 1], [better])
                permutations[k] = permutations[k][better]
                changed = True
    return permutations


def _parameters_only(group: PermutationGroup) -> PermutationGroup:
    return replace(group, axes=tuple(axis for axis in group.axes if axis.trained))


def _in_float64(state_dict: StateDict, groups: Sequence[PermutationGroup]) -> dict[str, Tensor]:
    """Only the tensors that take part, on the CPU."""
    weights: dict[str, Tensor] = {}
    for name in dict.fromkeys(axis.name for group in groups for axis in group.axes):
        if name not in state_dict:
            raise ValueError(f"state_dict: has no {name}, which has hidden units")
        weights[name] = state_dict[name].detach().cpu().double()
        if not weights[name].isfinite().all():
            raise ValueError(f"state_dict: {name} is not finite")
    return weights


def _match_forward(
    fixed: StateDict, moved: dict[str, Tensor], groups: Sequence[PermutationGroup]
) -> tuple[list[Tensor], dict[str, Tensor]]:
    """Where the descent begins: the permutations of a pass forward, or none if that is closer."""
    permutations, ahead = identity_permutations(groups), moved
    for k, group in enumerate(groups):
        unmatched = {(axis.name, axis.dim) for later in groups[k:] for axis in later.axes}
        axes = tuple(axis for axis in group.axes if (axis.name, 1 - axis.dim) not in unmatched)
        permutations[k] = _best(fixed, ahead, replace(group, axes=axes))
        ahead = permute(ahead, [group], permutations[k : k + 1])
    gain = sum(float((fixed[name] * (ahead[name] - moved[name])).sum()) for name in fixed)
    return (permutations, ahead) if gain > 0 else (identity_permutations(groups), moved)


def _best(fixed: StateDict, moved: StateDict, group: PermutationGroup) -> Tensor:
    """The permutation of one group with the largest sum of products."""
    products = torch.zeros(group.size, group.size, dtype=torch.float64)
    for axis in group.axes:
        products += axis.rows(fixed[axis.name]) @ axis.rows(moved[axis.name]).T
    _, columns = linear_sum_assignment(products.numpy(), maximize=True)
    return torch.from_numpy(columns)


def _gain(
    fixed: StateDict, moved: StateDict, group: PermutationGroup, permutation: Tensor
) -> float:
    """By how much the sum of products grows; 0 where that may be rounding.

    Not taken from `_best`, which assumes that one axis of a tensor stays while the other changes:
    that is wrong where a layer reads and makes the same units.
    """
    names = {axis.name for axis in group.axes}
    after = permute({name: moved[name] for name in names}, [group], [permutation])
    gain = size = 0.0
    for name in sorted(names):
        gain += float((fixed[name] * (after[name] - moved[name])).sum())
        size += float(fixed[name].norm() * moved[name].norm())
    return gain if gain > LEAST_GAIN * size else 0.0


def align_network(
    model: nn.Module, start: StateDict, end: StateDict, align: str, inputs: Tensor
) -> StateDict:
    """Align a network: the same function as `end`, its units paired with those of `start`.

    Args:
        model: the architecture, on the device on which to compute; it is left as it is.
        start: weights of the network that stays as it is.
        end: weights to be aligned.
        align: "none": as they are; "weights": see `match_weights`; "activations": see
            `match_activations`.
        inputs: (examples, ...), normalized and not augmented; those of the activations.

    Raises:
        ValueError: the networks differ in architecture, or the units of this one cannot be found.
    """
    interpolation.check_alike([start, end])
    if align == "none":
        return end
    try:
        structure.check_weights(model)
        groups = permutation_spec.find_groups(model, inputs)
    except ValueError as error:
        raise ValueError(f"align={align}: {error}") from error
    if align == "weights":
        permutations = match_weights(start, end, groups)
    else:
        permutations = match_activations(model, start, end, groups, inputs)
    return permute(end, groups, permutations)
