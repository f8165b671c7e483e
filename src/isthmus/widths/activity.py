"""What the layers of a network take in and give out on some examples."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call

from isthmus.state_dicts import StateDict
from isthmus.training.evaluation import evaluating
from isthmus.widths.layers import Layer


@dataclass(frozen=True)
class Activity:
    """By name of the layer."""

    inputs: dict[str, Tensor]  # (examples, ...), activations of the layer below
    outputs: dict[str, Tensor]  # (examples, ...), pre-activations
    result: Tensor  # (examples, outputs), of the network


@torch.no_grad()
def of(
    model: nn.Module, layers: Sequence[Layer], inputs: Tensor, weights: StateDict | None = None
) -> Activity:
    """What goes on in a network in evaluation mode; the network is left as it was.

    Args:
        model: a network.
        layers: of it.
        inputs: (examples, *input_shape).
        weights: in place of its own.
    """
    taken: dict[str, Tensor] = {}
    given: dict[str, Tensor] = {}
    hooks = []
    for layer in layers:

        def note(_: nn.Module, arguments: tuple[Tensor], result: Tensor, name: str = layer.name):
            taken[name], given[name] = arguments[0].clone(), result.clone()

        hooks.append(model.get_submodule(layer.name).register_forward_hook(note))
    try:
        with evaluating(model):
            own = model.state_dict() if weights is None else weights
            result = functional_call(model, dict(own), (inputs,))
    finally:
        for hook in hooks:
            hook.remove()
    return Activity(taken, given, result)


def mean_absolute(tensor: Tensor) -> float:
    """The mean absolute value of all its numbers."""
    return float(tensor.abs().mean())


def diversity(outputs: Tensor) -> int:
    """How many units are the largest one for at least one example.

    Args:
        outputs: (examples, ...) of a layer.
    """
    return len(outputs.flatten(1).argmax(dim=1).unique())
