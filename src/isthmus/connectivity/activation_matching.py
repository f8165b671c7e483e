"""Alignment of one network with another by what their units do on the same inputs."""

from collections.abc import Sequence

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from isthmus.connectivity.forward import chunks, device_of, loaded
from isthmus.connectivity.groups import Group
from isthmus.state_dicts import StateDict


def match(
    model: nn.Module,
    start: StateDict,
    end: StateDict,
    groups: Sequence[Group],
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
        groups: of that architecture, as `groups.find` returns them.
        inputs: (examples, ...), normalized and not augmented, on any device.
        chunk_size: examples in one forward pass, at least 1.

    Returns:
        For each group (units,) integers, as `permutations.permuted` takes them for `end`.

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
    groups: Sequence[Group],
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
        model, start, end, groups, inputs, chunk_size: as in `match`.

    Returns:
        For each group (units of start, units of end) float64, on the CPU; not a number where
        activations are not finite.

    Raises:
        ValueError: `chunk_size` is below 1, or there are no `inputs`.
    """
    batches = chunks(inputs, chunk_size)
    names = sorted({axis.name for group in groups for axis in group.inputs})
    both = [_Readings(model, weights, names) for weights in (start, end)]
    moments = [[_CrossMoments() for _ in group.inputs] for group in groups]
    for chunk in batches:
        first, second = (readings.of(chunk) for readings in both)
        for group, places in zip(groups, moments, strict=True):
            for axis, place in zip(group.inputs, places, strict=True):
                # Channels are axis 1 of activations as they are of the weight that reads them.
                for one, other in zip(first[axis.name], second[axis.name], strict=True):
                    place.add(axis.rows(one), axis.rows(other))
    matrices = []
    for group, places in zip(groups, moments, strict=True):
        total = torch.zeros(group.size, group.size, dtype=torch.float64)
        for place in places:
            total += place.correlations() / len(places)
        matrices.append(total)
    return matrices


class _Readings:
    """A network that tells what the layers with the given weights read."""

    def __init__(self, model: nn.Module, weights: StateDict, names: Sequence[str]) -> None:
        self._model = loaded(model, weights)
        self._read: dict[str, list[Tensor]] = {name: [] for name in names}
        for name in names:
            layer = self._model.get_submodule(name.rpartition(".")[0])
            layer.register_forward_pre_hook(lambda _, args, name=name: self._note(name, args[0]))

    def _note(self, name: str, values: Tensor) -> None:
        self._read[name].append(values)

    def of(self, inputs: Tensor) -> dict[str, list[Tensor]]:
        """By name of a weight, (batch, channels, ...) for each time that its layer is used."""
        for values in self._read.values():
            values.clear()
        self._model(inputs.to(device_of(self._model)))
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
