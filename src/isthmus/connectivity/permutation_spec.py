"""Finds which hidden units of a network can be permuted, from its traced graph; permutes them.

A permutation spec in the sense of Ainsworth et al., 2023 (git re-basin).
"""

import math
import operator
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from isthmus import rng
from isthmus.connectivity import tracing
from isthmus.models.layers import NORMS, ChannelNorm
from isthmus.state_dicts import StateDict

_KEEPING_MODULES = (  # act on each number, or on each channel of an image, on its own
    *(nn.ReLU, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Softplus, nn.Sigmoid, nn.Tanh),
    *(nn.Identity, nn.Dropout, nn.Dropout2d),
    *(nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveMaxPool2d, nn.AdaptiveAvgPool2d),
)
_KEEPING_FUNCTIONS: tuple[object, ...] = (
    *(torch.relu, torch.sigmoid, torch.tanh, functional.relu, functional.leaky_relu),
    *(functional.elu, functional.gelu, functional.silu, functional.softplus),
    *(functional.dropout, functional.max_pool2d, functional.avg_pool2d),
    *(functional.adaptive_max_pool2d, functional.adaptive_avg_pool2d),
    *("relu", "sigmoid", "tanh", "contiguous"),  # a string is a method of a tensor
)
_ADDING: tuple[object, ...] = (operator.add, operator.iadd, torch.add, "add", "add_")
_FLATTENING: tuple[object, ...] = (torch.flatten, torch.reshape, "flatten", "reshape", "view")


class Flow:
    """Follows a traced model once and records where its units are.

    Args:
        model: what `tracing.trace_shapes` returns.
        names: one name for each tensor of the state dict, the same for tied tensors.

    Attributes:
        units: all units; those of inputs and logits are fixed.
        axes: by name and axis of a tensor, the unit of each index on that axis.
        reads: for each value that linear and convolutional layers read, the first of those layers'
            axes that reads it.

    Raises:
        ValueError: a module or function does something unknown to the units.
    """

    def __init__(self, model: fx.GraphModule, names: Mapping[str, str]) -> None:
        self.units = Units()
        self.axes: dict[tuple[str, int], list[int]] = {}
        self.reads: dict[fx.Node, tuple[str, int]] = {}
        self._model, self._names = model, names
        self._values: dict[fx.Node, list[int]] = {}
        for node in model.graph.nodes:
            if node.op == "output":
                if not isinstance(node.args[0], fx.Node):
                    raise ValueError(f"model: must return one tensor, returns {node.args[0]}")
                self.units.fix(self._operand(node))
            elif node.op == "call_module" or (node.op != "get_attr" and "shape" in node.meta):
                self._values[node] = units = self._result(node)
                if node.meta["shape"][1:2] != (len(units),):
                    raise _unknown(node, f"it makes {tuple(node.meta['shape'])}")

    def _result(self, node: fx.Node) -> list[int]:
        """The unit of each index on axis 1 of what a node makes."""
        if node.op == "placeholder":
            units = self.units.block(math.prod(node.meta["shape"][1:2]))
            self.units.fix(units)
            return units
        if node.op == "call_module":
            return self._module(node, self._model.get_submodule(str(node.target)))
        if node.target in _KEEPING_FUNCTIONS:
            return self._operand(node)
        if node.target in _ADDING:
            return self._sum(node)
        if node.target in _FLATTENING:
            return self._flatten_units(node)
        rules: dict[object, Callable[[fx.Node], list[int]]] = {
            functional.pad: self._pad_units,
            operator.getitem: self._slice_units,
            torch.mean: self._mean,
            "mean": self._mean,
        }
        if node.target not in rules:
            raise _unknown(node, "unsupported operation")
        return rules[node.target](node)

    def _operand(self, node: fx.Node, place: int = 0) -> list[int]:
        """Units of what a node is applied to."""
        operand = node.all_input_nodes[place]
        if operand not in self._values:
            raise _unknown(node, f"it reads {operand.target!r}, which has no units")
        return self._values[operand]

    def _module(self, node: fx.Node, module: nn.Module) -> list[int]:
        if isinstance(module, _KEEPING_MODULES):
            return self._operand(node)
        if isinstance(module, NORMS):
            return self._units_of_norm(node, module)
        if isinstance(module, nn.Flatten):
            return self._flatten_units(node)
        if isinstance(module, nn.Linear) and _ndim(node) == 2:
            return self._layer(node, module.out_features, module.bias is not None)
        if isinstance(module, nn.Conv2d) and module.groups == 1:
            return self._layer(node, module.out_channels, module.bias is not None)
        shape = tuple(node.all_input_nodes[0].meta["shape"])
        raise _unknown(node, f"unsupported: {module} on values of shape {shape}")

    def _layer(self, node: fx.Node, num_outputs: int, bias: bool) -> list[int]:
        """A linear or convolutional layer makes units; a layer used before, the same ones again."""
        weight = f"{node.target}.weight"
        self._note(weight, 1, self._operand(node))
        self.reads.setdefault(node.all_input_nodes[0], (self._names[weight], 1))
        units = self.axes.get((self._names[weight], 0)) or self.units.block(num_outputs)
        self._note(weight, 0, units)
        if bias:
            self._note(f"{node.target}.bias", 0, units)
        return units

    def _units_of_norm(self, node: fx.Node, module: nn.Module) -> list[int]:
        units = self._operand(node)
        over = getattr(module, "normalized_shape", None)
        is_whole = over is None or tuple(over) == node.meta["shape"][1:]
        if not is_whole and not isinstance(module, ChannelNorm):
            raise _unknown(node, f"it normalizes over {over}")
        for name, tensor in module.state_dict().items():
            if tensor.dim() > 0:  # unlike a count of batches
                self._note(f"{node.target}.{name}", 0, units)
        if isinstance(module, nn.GroupNorm) and 1 < module.num_groups < module.num_channels:
            size = module.num_channels // module.num_groups
            for first in range(0, len(units), size):
                self.units.tie(units[first : first + size])
        return units

    def _note(self, tensor: str, dim: int, units: list[int]) -> None:
        """Join `units` with the units that the indices on an axis belong to."""
        self.units.join(self.axes.setdefault((self._names[tensor], dim), units), units)

    def _sum(self, node: fx.Node) -> list[int]:
        units = self._operand(node)
        if len(node.all_input_nodes) == 2:
            shapes = [tuple(operand.meta["shape"]) for operand in node.all_input_nodes]
            if len(shapes[0]) != len(shapes[1]) or shapes[0][1] != shapes[1][1]:
                raise _unknown(node, f"it adds values of shapes {shapes}")
            self.units.join(units, self._operand(node, 1))
        return units

    def _flatten_units(self, node: fx.Node) -> list[int]:
        """Each channel becomes a run of features."""
        before, after = node.all_input_nodes[0].meta["shape"], node.meta["shape"]
        if len(after) != 2 or after[0] != before[0]:
            raise _unknown(node, f"it makes {tuple(after)} of {tuple(before)}")
        return [unit for unit in self._operand(node) for _ in range(math.prod(before[2:]))]

    def _mean(self, node: fx.Node) -> list[int]:
        dims = _argument(node, 1, "dim")
        dims = [dims] if isinstance(dims, int) else dims
        if not isinstance(dims, Sequence) or {int(dim) % _ndim(node) for dim in dims} & {0, 1}:
            raise _unknown(node, f"it averages over {dims}")
        return self._operand(node)

    def _slice_units(self, node: fx.Node) -> list[int]:
        index = node.args[1]
        if not isinstance(index, tuple) or index[:2] != (slice(None), slice(None)):
            raise _unknown(node, f"its index is {index}")
        return self._operand(node)

    def _pad_units(self, node: fx.Node) -> list[int]:
        """Channels of one constant become units that may change places with each other."""
        widths = [int(width) for width in _argument(node, 1, "pad")]  # of the last axis first
        before, after = (widths + [0] * 2 * _ndim(node))[2 * _ndim(node) - 4 :][:2]
        added = self.units.block(before + after)
        return added[:before] + self._operand(node) + added[before:]


def _ndim(node: fx.Node) -> int:
    """Number of axes of what a node is applied to."""
    return len(node.all_input_nodes[0].meta["shape"])


def _argument(node: fx.Node, place: int, name: str) -> Any:
    return node.args[place] if len(node.args) > place else node.kwargs.get(name)


def _unknown(node: fx.Node, why: str) -> ValueError:
    """The node as it is called in the model's source, and why units cannot go through it."""
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", node)
    if node.op == "call_module":
        return ValueError(f"model: cannot permute units through its module {name!r}: {why}")
    stack = list(node.meta.get("nn_module_stack", {}).values())
    where = f"its module {stack[-1][0]!r} ({stack[-1][1].__name__})" if stack else "its own forward"
    return ValueError(f"model: cannot permute units through {name!r} in {where}: {why}")


FIXED = -1  # the block of units that keep their places: inputs and logits


class Units:
    """A partition of units, which grows and whose parts are joined.

    A unit is one channel of an image or one feature of a vector, made in a block together with
    others. Permuting the units of every block alike leaves a network as it is; so units may change
    places if they are in the same blocks, and joined ones only together.
    """

    def __init__(self) -> None:
        self._parents: list[int] = []
        self._blocks: list[list[int]] = []  # of each representative, an entry per unit and block
        self._num_blocks = 0

    def block(self, size: int) -> list[int]:
        """Make a new block of `size` units."""
        first = len(self._parents)
        units = list(range(first, first + size))
        self._parents += units
        self._blocks += [[] for _ in units]
        self.tie(units)
        return units

    def tie(self, units: list[int]) -> None:
        """Restrict these units: they change places with each other only."""
        for unit in units:
            self._blocks[self.representative(unit)].append(self._num_blocks)
        self._num_blocks += 1

    def fix(self, units: list[int]) -> None:
        """Fix these units: they keep their places."""
        for unit in units:
            self._blocks[self.representative(unit)].append(FIXED)

    def join(self, first: list[int], second: list[int]) -> None:
        """Make each of `first` one with its counterpart in `second`."""
        for one, other in zip(first, second, strict=True):
            kept, joined = sorted((self.representative(one), self.representative(other)))
            if kept != joined:
                self._parents[joined] = kept
                self._blocks[kept] += self._blocks[joined]

    def representative(self, unit: int) -> int:
        """The earliest of the units that `unit` is one with."""
        while (parent := self._parents[unit]) != unit:
            self._parents[unit] = unit = self._parents[parent]  # halves the path
        return unit

    def interchangeable(self) -> list[list[int]]:
        """Representatives in sets of those that may change places, in order; none that is fixed."""
        sets: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for unit, parent in enumerate(self._parents):
            if unit == parent and FIXED not in self._blocks[unit]:
                sets[tuple(sorted(self._blocks[unit]))].append(unit)
        return list(sets.values())


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
class PermutationGroup:
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


def find_groups(model: nn.Module, inputs: Tensor) -> list[PermutationGroup]:
    """Find the groups of interchangeable hidden units, from the forward pass of a model.

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
    flow = Flow(tracing.trace_shapes(model, inputs), {name: same[0] for name, same in tied.items()})
    reads = set(flow.reads.values())
    groups = []
    for places in _places(flow):
        axes, read = [], []
        for (name, dim), positions in places.items():
            trained = isinstance(tensors[name], nn.Parameter)
            same = [Axis(each, dim, torch.tensor(positions), trained) for each in tied[name]]
            axes += same
            read += same[:1] if (name, dim) in reads else []
        groups.append(PermutationGroup(len(axes[0].positions), tuple(axes), tuple(read)))
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


def permute(
    state_dict: StateDict, groups: Sequence[PermutationGroup], permutations: Sequence[Tensor]
) -> dict[str, Tensor]:
    """The same network with its hidden units in another order.

    Args:
        state_dict: weights of the model whose `groups` these are; not changed.
        groups: as `find_groups` returns them.
        permutations: for each group (units,) integers, the unit that takes each place.

    Returns:
        A state dict of the same keys, types and devices; tensors without hidden units are those of
        `state_dict`.

    Raises:
        ValueError: there are more or fewer permutations than groups, one is no permutation of its
            group's units, or `state_dict` lacks a tensor of a group.
    """
    if len(permutations) != len(groups):
        raise ValueError(
            f"permutations: must be one per group, got {len(permutations)} for {len(groups)}"
        )
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


def identity_permutations(groups: Sequence[PermutationGroup]) -> list[Tensor]:
    """Permutations that leave every unit in its place."""
    return [torch.arange(group.size) for group in groups]


def draw_permutations(groups: Sequence[PermutationGroup], seed: int) -> list[Tensor]:
    """Random permutations, independent, uniform over all permutations of a group."""
    stream = rng.generator(seed, "permutations")
    return [torch.randperm(group.size, generator=stream) for group in groups]
