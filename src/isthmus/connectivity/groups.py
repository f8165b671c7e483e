"""Groups of hidden units that may change places without changing what a network computes."""

from collections import defaultdict
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from isthmus.connectivity import graph
from isthmus.connectivity.flow import Flow


@dataclass(frozen=True)
class Axis:
    """Where the units of a group are in one tensor of a state dict.

    Args:
        name: of the tensor.
        dim: its axis that counts units.
        positions: (units, columns), indices on that axis; a unit has several columns where images
            are flattened before a linear layer.
        trained: whether the tensor is a parameter, and no running statistic.
    """

    name: str
    dim: int
    positions: Tensor
    trained: bool

    def rows(self, tensor: Tensor) -> Tensor:
        """The numbers of each unit in `tensor`, (units, numbers)."""
        numbers = tensor.movedim(self.dim, 0)[self.positions.to(tensor.device)]
        return numbers.flatten(1)  # of (units, columns, ...)


@dataclass(frozen=True)
class Group:
    """Units that may change places with each other, in all of `axes` at once.

    Args:
        size: number of units.
        axes: of all tensors that have numbers of these units.
        inputs: those of `axes` that belong to the inputs of a linear or convolutional layer, one
            for each value that such layers read.
    """

    size: int
    axes: tuple[Axis, ...]
    inputs: tuple[Axis, ...]

    @property
    def name(self) -> str:
        """The first tensor that makes these units."""
        return self.axes[0].name


def find(model: nn.Module, inputs: Tensor) -> list[Group]:
    """Groups of interchangeable hidden units, read off the forward pass of a model.

    Inputs and logits keep their places. What is added shares a permutation, so a residual stream
    is one group. Where a shortcut pads with channels of zeros (option A of He et al., 2016), the
    channels it fills are tied to the narrow stream and the others are free: at widths 16, 32, 64
    the groups have 16 units (the first 16 of each stage), 16 (of the last two) and 32 (of the
    last). A group normalization ties the channels it normalizes together.

    Args:
        model: linear and convolutional layers, normalizations, activations, dropout, pooling,
            flattening and sums, whose channels or features are axis 1; it is left as it is.
        inputs: (batch, ...), of which shape and type of one example matter.

    Returns:
        In the order in which the forward pass makes their units; none if there are no hidden units.

    Raises:
        ValueError: the model cannot be traced, or does something else to its units; the message
            names the module or the function.
    """
    tensors = model.state_dict(keep_vars=True)
    names: dict[int, list[str]] = defaultdict(list)  # several where tensors are tied
    for name, tensor in tensors.items():
        names[id(tensor)].append(name)
    tied = {name: names[id(tensor)] for name, tensor in tensors.items()}
    flow = Flow(graph.with_shapes(model, inputs), {name: same[0] for name, same in tied.items()})
    reads = set(flow.reads.values())
    groups = []
    for places in _places(flow):
        axes, read = [], []
        for (name, dim), positions in places.items():
            trained = isinstance(tensors[name], nn.Parameter)
            same = [Axis(each, dim, torch.tensor(positions), trained) for each in tied[name]]
            axes += same
            read += same[:1] if (name, dim) in reads else []
        groups.append(Group(len(axes[0].positions), tuple(axes), tuple(read)))
    return groups


def _places(flow: Flow) -> list[dict[tuple[str, int], list[list[int]]]]:
    """For each group: by name and axis of a tensor, the indices of each unit on that axis."""
    sets = flow.units.interchangeable()
    place_of = {unit: (k, i) for k, units in enumerate(sets) for i, unit in enumerate(units)}
    groups: list[dict[tuple[str, int], list[list[int]]]] = [{} for _ in sets]
    for key, units in flow.axes.items():
        for index, unit in enumerate(units):
            if (place := place_of.get(flow.units.representative(unit))) is not None:
                group, i = place
                if key not in groups[group]:
                    groups[group][key] = [[] for _ in sets[group]]
                groups[group][key][i].append(index)
    return [places for places in groups if places]
