"""Many fully connected networks as one stack of tensors; symmetries of activations."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from isthmus.models import layers as models_layers
from isthmus.vocabulary import Activation

NEGATIVE_SLOPE = 0.01  # of torch's leaky ReLU


@dataclass(frozen=True)
class Symmetry:
    """The symmetries of one activation.

    Args:
        sign: what a unit becomes when w and b change sign. "odd", s(z) = constant - s(-z): a
            changes sign too, and what comes next gains constant * a. "even_linear",
            s(z) = s(-z) + slope * z: a stays, and what comes next gains slope * a z, an affine
            function of the unit's own inputs. None: there is no such rule.
        constant: s(z) + s(-z) of an odd one.
        slope: (s(z) - s(-z)) / z of an even-linear one.
        scales: whether s(c z) = c s(z) for c > 0, so that the length of (w, b) can move into a.
    """

    sign: Literal["odd", "even_linear"] | None = None
    constant: float = 0.0
    slope: float = 0.0
    scales: bool = False


SYMMETRIES = {
    "relu": Symmetry("even_linear", slope=1.0, scales=True),
    "leaky_relu": Symmetry("even_linear", slope=1.0 + NEGATIVE_SLOPE, scales=True),
    "elu": Symmetry(),
    "gelu": Symmetry("even_linear", slope=1.0),
    "silu": Symmetry("even_linear", slope=1.0),
    "softplus": Symmetry("even_linear", slope=1.0),
    "sigmoid": Symmetry("odd", constant=1.0),
    "tanh": Symmetry("odd"),
    "identity": Symmetry("odd"),
    "g": Symmetry(),
}


@dataclass(frozen=True, eq=False)
class StackLayer:
    """One layer of every network.

    Args:
        blocks: the k-th, (students, units, inputs), reads the layer k + 1 places before this one.
        bias: (students, units).
    """

    blocks: tuple[Tensor, ...]
    bias: Tensor

    def pre_activations(self, sources: Sequence[Tensor]) -> Tensor:
        """(students, batch, units), the inputs of the activation.

        Args:
            sources: what the layers before give, the nearest last: (batch, features) where it is
                the same for all networks, else (students, batch, features).
        """
        # In memory the batch is last: then no product, forward or backward, has to copy first.
        total = self.bias.unsqueeze(2)  # (students, units, 1)
        for block, source in zip(self.blocks, reversed(sources), strict=False):
            if source.ndim == 2 and total.shape[2] == 1:
                start = total.flatten(0, 1)  # (students * units, 1)
                units = torch.addmm(start, block.flatten(0, 1), source.T)
                total = units.view(*self.bias.shape, len(source))
            elif source.ndim == 2:
                total = total + (block.flatten(0, 1) @ source.T).view_as(total)
            else:
                total = torch.baddbmm(total, block, source.transpose(1, 2))
        return total.transpose(1, 2)

    def vectors(self) -> Tensor:
        """(students, units, inputs + 1): the incoming weights of each unit, its bias last."""
        return torch.cat([*self.blocks, self.bias.unsqueeze(2)], dim=2)


@dataclass(frozen=True, eq=False)
class Stack:
    """Fully connected networks with the same activation after every layer but the last."""

    layers: tuple[StackLayer, ...]
    activation: Activation

    @property
    def num_students(self) -> int:
        return len(self.layers[0].bias)

    @property
    def widths(self) -> list[int]:
        """Units of every layer, the outputs last."""
        return [layer.bias.shape[1] for layer in self.layers]

    @property
    def symmetry(self) -> Symmetry:
        return SYMMETRIES[self.activation]

    def sources(self, inputs: Sequence[Tensor], num_layers: int) -> list[Tensor]:
        """What a layer reads: the inputs, and the activations of `num_layers` layers after them.

        Args:
            inputs: (batch, features) each; several where the first layer reads several.
            num_layers: of the hidden layers, from the first on.
        """
        activation, sources = models_layers.build_activation(self.activation), list(inputs)
        for layer in self.layers[:num_layers]:
            sources.append(activation(layer.pre_activations(sources)))
        return sources

    def outputs(self, inputs: Sequence[Tensor]) -> Tensor:
        """(students, batch, outputs) of the last layer."""
        sources = self.sources(inputs, len(self.layers) - 1)
        return self.layers[-1].pre_activations(sources)

    def tensors(self) -> list[Tensor]:
        """All weights and biases, layer by layer, the bias of a layer last."""
        return [tensor for layer in self.layers for tensor in (*layer.blocks, layer.bias)]

    def with_tensors(self, tensors: Sequence[Tensor]) -> "Stack":
        """The same architecture with other weights, in the order of `tensors`."""
        remaining, layers = iter(tensors), []
        for layer in self.layers:
            *blocks, bias = [next(remaining) for _ in (*layer.blocks, layer.bias)]
            layers.append(StackLayer(tuple(blocks), bias))
        return Stack(tuple(layers), self.activation)

    def take(self, students: Sequence[int]) -> "Stack":
        """Some of the networks, in the order given."""
        chosen = torch.as_tensor(students)
        return self.with_tensors([tensor[chosen.to(tensor.device)] for tensor in self.tensors()])

    def to(self, *how: torch.device | torch.dtype) -> "Stack":
        """The same networks on another device or in another type."""
        tensors = self.tensors()
        for each in how:
            tensors = [tensor.to(each) for tensor in tensors]
        return self.with_tensors(tensors)

    def with_layer(self, number: int, layer: StackLayer) -> "Stack":
        """The same networks with another layer at one position."""
        layers = (*self.layers[:number], layer, *self.layers[number + 1 :])
        return replace(self, layers=layers)


def rewrite_units(stack: Stack, number: int, signs: Tensor, scales: Tensor) -> Stack:
    """Rewrite networks with other signs and lengths of one layer's units; they compute the same.

    Args:
        stack: the networks.
        number: of the hidden layer.
        signs: (students, units) of 1 and -1.
        scales: (students, units), positive divisors of the incoming weights and bias of each unit.

    Returns:
        Where the activation is even-linear, later layers may have one more block.

    Raises:
        ValueError: the activation does not allow these signs or scales.
    """
    symmetry, layer = stack.symmetry, stack.layers[number]
    if symmetry.sign is None and bool((signs < 0).any()):
        raise ValueError(f"activation={stack.activation}: the sign of a unit cannot be changed")
    if not symmetry.scales and bool((scales != 1).any()):
        raise ValueError(f"activation={stack.activation}: the length of a unit cannot be changed")
    factors = (signs / scales).unsqueeze(2)  # (students, units, 1)
    blocks = tuple(factors * block for block in layer.blocks)
    result = stack.with_layer(number, StackLayer(blocks, factors.squeeze(2) * layer.bias))
    out_factors = scales * signs if symmetry.sign == "odd" else scales
    for later in range(number + 1, len(stack.layers)):
        place = later - number - 1
        if place < len(stack.layers[later].blocks):
            reading = _rewrite_reader(stack.layers[later], place, layer, signs, symmetry)
            outgoing = reading.blocks[place] * out_factors.unsqueeze(1)
            blocks = (*reading.blocks[:place], outgoing, *reading.blocks[place + 1 :])
            result = result.with_layer(later, StackLayer(blocks, reading.bias))
    return result


def _rewrite_reader(
    reader: StackLayer, place: int, layer: StackLayer, signs: Tensor, symmetry: Symmetry
) -> StackLayer:
    """A layer that reads units, with the rests that changes of their signs leave."""
    flipped = reader.blocks[place] * (signs < 0).unsqueeze(1)  # (students, outputs, units)
    if symmetry.sign == "odd":
        return StackLayer(reader.blocks, reader.bias + symmetry.constant * flipped.sum(dim=2))
    if symmetry.sign is None or not bool(flipped.any()):
        return reader
    left_over = symmetry.slope * flipped
    blocks = list(reader.blocks)
    for k, block in enumerate(layer.blocks):
        added = left_over @ block  # (students, outputs, inputs)
        if place + 1 + k < len(blocks):
            blocks[place + 1 + k] = blocks[place + 1 + k] + added
        else:
            blocks.append(added)
    bias = reader.bias + (left_over @ layer.bias.unsqueeze(2)).squeeze(2)
    return StackLayer(tuple(blocks), bias)


def stack_state_dict(network: Stack) -> dict[str, Tensor]:
    """Weights of a stack of one, under the names of `MLP` and `SkipMLP`."""
    names = [f"hidden.{number}" for number in range(len(network.layers) - 1)]
    weights = {}
    for name, layer in zip([*names, "output"], network.layers, strict=True):
        weights[f"{name}.weight"] = torch.cat([block[0] for block in layer.blocks], dim=1)
        weights[f"{name}.bias"] = layer.bias[0]
    return weights


def model_node(network: Stack) -> dict[str, Any]:
    """The configuration of a model for these weights."""
    node = {
        "_target_": "MLP",
        "_partial_": True,
        "width": network.widths[:-1],
        "activation": network.activation,
    }
    reads = [len(layer.blocks) for layer in network.layers]
    if max(reads) == 1:
        return node
    return node | {"_target_": "SkipMLP", "reads": reads}
