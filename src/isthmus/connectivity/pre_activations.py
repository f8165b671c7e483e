"""How much the hidden channels of a network vary before their activation function."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from isthmus.connectivity.forward import chunks, device_of, loaded
from isthmus.connectivity.graph import with_shapes
from isthmus.models.norms import NORMS
from isthmus.state_dicts import StateDict
from isthmus.training import moments
from isthmus.training.moments import Moments


@dataclass(frozen=True)
class Statistics:
    """Of the outputs of one layer over examples and positions.

    Args:
        mean: (channels,).
        std: (channels,), from the biased variance.
    """

    mean: Tensor
    std: Tensor


def lerp(
    start: Mapping[str, Statistics], end: Mapping[str, Statistics], alpha: float
) -> dict[str, Statistics]:
    """What the channels of an interpolated network should have (Jordan et al., 2023).

    Args:
        start: by layer, as `statistics` returns them.
        end: the same of the other network.
        alpha: 0 for `start`, 1 for `end`.

    Returns:
        By layer, means and standard deviations (not variances) on the straight line.
    """
    return {
        name: Statistics(
            mean=first.mean.lerp(end[name].mean, alpha), std=first.std.lerp(end[name].std, alpha)
        )
        for name, first in start.items()
    }


@torch.no_grad()
def statistics(
    model: nn.Module, state_dict: StateDict, inputs: Tensor, chunk_size: int = 5000
) -> dict[str, Statistics]:
    """Statistics of all hidden pre-activations of a network in evaluation mode.

    Pre-activations are the outputs of normalization layers, and of linear and convolutional layers
    that no normalization follows; logits are none.

    Args:
        model: the architecture, on the device on which to compute; it is left as it is.
        state_dict: its weights.
        inputs: (examples, ...), normalized and not augmented, on any device.
        chunk_size: the largest number of examples in one forward pass, at least 1.

    Returns:
        By name of the layer, in order of use.

    Raises:
        ValueError: `chunk_size` or the number of `inputs` is below 1, the model cannot be traced,
            uses a layer twice, or has one without the weight and bias that a repair changes.
    """
    parts: dict[str, list[Moments]] = {name: [] for name in _layers(model, inputs)}
    batches = chunks(inputs, chunk_size)
    copy = loaded(model, state_dict)
    for name, measured in parts.items():
        copy.get_submodule(name).register_forward_hook(
            lambda _, args, outputs, measured=measured: measured.append(moments.of(outputs))
        )
    for batch in batches:
        copy(batch.to(device_of(copy)))
    merged = {name: moments.merged(measured) for name, measured in parts.items()}
    return {name: Statistics(each.mean, each.variance.sqrt()) for name, each in merged.items()}


def _layers(model: nn.Module, inputs: Tensor) -> list[str]:
    """Names of the layers whose outputs are hidden pre-activations, in order of use."""
    graph = with_shapes(model, inputs)
    names: list[str] = []
    for node in graph.graph.nodes:
        if not _is_pre_activation(graph, node):
            continue
        name = str(node.target)
        if name in names:
            raise ValueError(f"model: uses the layer {name!r} twice, so it has no one mean and std")
        layer = graph.get_submodule(name)
        if layer.weight is None or getattr(layer, "bias", None) is None:
            raise ValueError(f"model: {name!r} lacks the weight or the bias to repair it: {layer}")
        names.append(name)
    return names


def _is_pre_activation(graph: fx.GraphModule, node: fx.Node) -> bool:
    if _is(graph, node, NORMS):
        return True
    if not _is(graph, node, (nn.Linear, nn.Conv2d)):
        return False
    normalized = all(_is(graph, user, NORMS) for user in node.users)
    return not normalized and all(user.op != "output" for user in node.users)


def _is(graph: fx.GraphModule, node: fx.Node, types: tuple[type[nn.Module], ...]) -> bool:
    return node.op == "call_module" and isinstance(graph.get_submodule(str(node.target)), types)
