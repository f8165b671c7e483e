"""How hidden units flow through a model: which index of which tensor belongs to which unit."""

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional

from isthmus.connectivity.units import Units
from isthmus.models.norms import NORMS, ChannelNorm

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
    """Goes through a traced model once and notes where its units are.

    Args:
        model: what `graph.with_shapes` returns.
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
            return self._flattened(node)
        rules: dict[object, Callable[[fx.Node], list[int]]] = {
            functional.pad: self._padded,
            operator.getitem: self._sliced,
            torch.mean: self._mean,
            "mean": self._mean,
        }
        if node.target not in rules:
            raise _unknown(node, "nothing is known of it")
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
            return self._normalized(node, module)
        if isinstance(module, nn.Flatten):
            return self._flattened(node)
        if isinstance(module, nn.Linear) and _ndim(node) == 2:
            return self._layer(node, module.out_features, module.bias is not None)
        if isinstance(module, nn.Conv2d) and module.groups == 1:
            return self._layer(node, module.out_channels, module.bias is not None)
        shape = tuple(node.all_input_nodes[0].meta["shape"])
        raise _unknown(node, f"nothing is known of {module} on values of shape {shape}")

    def _layer(self, node: fx.Node, num_outputs: int, bias: bool) -> list[int]:
        """A linear or convolutional layer makes units; a layer used before, the same ones again."""
        weight = f"{node.target}.weight"
        self._note(weight, 1, self._operand(node))
        self.reads.setdefault(node.all_input_nodes[0], (self._names[weight], 1))
        made = self.axes.get((self._names[weight], 0)) or self.units.block(num_outputs)
        self._note(weight, 0, made)
        if bias:
            self._note(f"{node.target}.bias", 0, made)
        return made

    def _normalized(self, node: fx.Node, module: nn.Module) -> list[int]:
        units = self._operand(node)
        over = getattr(module, "normalized_shape", None)
        whole = over is None or tuple(over) == node.meta["shape"][1:]
        if not whole and not isinstance(module, ChannelNorm):
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
        """Let the indices on an axis belong to `units`, beside those that they belong to."""
        self.units.join(self.axes.setdefault((self._names[tensor], dim), units), units)

    def _sum(self, node: fx.Node) -> list[int]:
        units = self._operand(node)
        if len(node.all_input_nodes) == 2:
            shapes = [tuple(operand.meta["shape"]) for operand in node.all_input_nodes]
            if len(shapes[0]) != len(shapes[1]) or shapes[0][1] != shapes[1][1]:
                raise _unknown(node, f"it adds values of shapes {shapes}")
            self.units.join(units, self._operand(node, 1))
        return units

    def _flattened(self, node: fx.Node) -> list[int]:
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

    def _sliced(self, node: fx.Node) -> list[int]:
        index = node.args[1]
        if not isinstance(index, tuple) or index[:2] != (slice(None), slice(None)):
            raise _unknown(node, f"its index is {index}")
        return self._operand(node)

    def _padded(self, node: fx.Node) -> list[int]:
        """Channels of one constant become units that may change places with each other."""
        widths = [int(width) for width in _argument(node, 1, "pad")]  # of the last axis first
        before, after = (widths + [0] * 2 * _ndim(node))[2 * _ndim(node) - 4 :][:2]
        more = self.units.block(before + after)
        return more[:before] + self._operand(node) + more[before:]


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
