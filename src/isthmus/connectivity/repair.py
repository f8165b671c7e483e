"""REPAIR (Jordan et al., 2023): rescales the hidden channels of an interpolated network."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

from isthmus.connectivity.tracing import chunks, load_network, parameter_device, trace_shapes
from isthmus.models.layers import NORMS
from isthmus.state_dicts import StateDict
from isthmus.training import batch_norm
from isthmus.training.batch_norm import ChannelStats


@dataclass(frozen=True)
class PreActivationStats:
    """Mean and standard deviation of a layer's outputs over examples and positions.

    Args:
        mean: (channels,).
        std: (channels,), from the biased variance.
    """

    mean: Tensor
    std: Tensor


def lerp_stats(
    start: Mapping[str, PreActivationStats], end: Mapping[str, PreActivationStats], alpha: float
) -> dict[str, PreActivationStats]:
    """Target statistics of the channels of an interpolated network (Jordan et al., 2023).

    Args:
        start: by layer, as `pre_activation_stats` returns them.
        end: the same of the other network.
        alpha: 0 for `start`, 1 for `end`.

    Returns:
        By layer, means and standard deviations (not variances) on the straight line.
    """
    return {
        name: PreActivationStats(
            mean=first.mean.lerp(end[name].mean, alpha), std=first.std.lerp(end[name].std, alpha)
        )
        for name, first in start.items()
    }


@torch.no_grad()
def pre_activation_stats(
    model: nn.Module, state_dict: StateDict, inputs: Tensor, chunk_size: int = 5000
) -> dict[str, PreActivationStats]:
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
    parts: dict[str, list[ChannelStats]] = {name: [] for name in _layers(model, inputs)}
    batches = chunks(inputs, chunk_size)
    copy = load_network(model, state_dict)
    for name, measured in parts.items():
        copy.get_submodule(name).register_forward_hook(
            lambda _, args, outputs, measured=measured: measured.append(
                batch_norm.channel_stats(outputs)
            )
        )
    for batch in batches:
        copy(batch.to(parameter_device(copy)))
    merged = {name: batch_norm.merge_stats(measured) for name, measured in parts.items()}
    return {
        name: PreActivationStats(each.mean, each.variance.sqrt()) for name, each in merged.items()
    }


def _layers(model: nn.Module, inputs: Tensor) -> list[str]:
    """Names of the layers whose outputs are hidden pre-activations, in order of use."""
    graph = trace_shapes(model, inputs)
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


LEAST_STD = 1e-6  # of the mean: a channel that varies less is constant but for rounding


@torch.no_grad()
def repair_network(
    model: nn.Module,
    state_dict: StateDict,
    targets: Mapping[str, PreActivationStats],
    inputs: Tensor,
    chunk_size: int = 5000,
) -> dict[str, Tensor]:
    """`state_dict` with each hidden channel scaled and shifted to given statistics on `inputs`.

    REPAIR (Jordan et al., 2023), layer after layer in order of use, so that a layer is measured
    where those before it are repaired. Scale and shift go into weight and bias of the layer, and
    the running statistics of batch norm become those on `inputs`: what is returned is a plain
    network, and `bn=reset` is part of it. With its own statistics as targets a network computes
    what it did. A channel that is constant on `inputs` is shifted only.

    If `inputs` fit into one chunk this takes one forward pass; else one, up to the layer in
    question, for each layer.

    Args:
        model: the architecture, on the device on which to compute; it is left as it is.
        state_dict: weights of that architecture; not changed.
        targets: by layer, in order of use, as `lerp_stats` returns them.
        inputs: (examples, ...), those on which the targets were measured, on any device.
        chunk_size: the largest number of examples in one forward pass, at least 1.

    Returns:
        The same keys and types as `state_dict`, on its devices.

    Raises:
        ValueError: `chunk_size` or the number of `inputs` is below 1, or batch norm gets one value
            per channel.
    """
    batches = chunks(inputs, chunk_size)
    copy = load_network(model, state_dict)
    layers = [(copy.get_submodule(name), target) for name, target in targets.items()]
    if len(batches) == 1:
        _repair_together(copy, layers, inputs)
    else:
        for layer, target in layers:
            _repair(copy, layer, target, batches)
    return {name: tensor.to(state_dict[name].device) for name, tensor in copy.state_dict().items()}


def _repair_together(
    model: nn.Module, layers: Sequence[tuple[nn.Module, PreActivationStats]], inputs: Tensor
) -> None:
    """Change each layer, and what leaves it, as soon as one forward pass reaches it."""

    def repair_inputs(layer: nn.Module, args: tuple[Tensor, ...]) -> None:
        _change(layer, batch_norm.channel_stats(args[0]), target_of[layer])

    def repair_outputs(layer: nn.Module, args: tuple[Tensor, ...], outputs: Tensor) -> Tensor:
        scale, shift = _change(layer, batch_norm.channel_stats(outputs), target_of[layer])
        return outputs * _rows(scale, outputs[0]) + _rows(shift, outputs[0])

    target_of = dict(layers)
    for layer in target_of:
        if _is_batch_norm(layer):
            layer.register_forward_pre_hook(repair_inputs)
        else:
            layer.register_forward_hook(repair_outputs)
    model(inputs.to(parameter_device(model)))


class _StatisticsReached(Exception):
    """Ends a forward pass at the layer that is measured."""


def _repair(
    model: nn.Module, layer: nn.Module, target: PreActivationStats, batches: Sequence[Tensor]
) -> None:
    """Change one layer by what reaches or leaves it in all batches."""
    parts: list[ChannelStats] = []

    def measure_inputs(_: nn.Module, args: tuple[Tensor, ...]) -> None:
        parts.append(batch_norm.channel_stats(args[0]))
        raise _StatisticsReached

    def measure_outputs(_: nn.Module, args: tuple[Tensor, ...], outputs: Tensor) -> None:
        parts.append(batch_norm.channel_stats(outputs))
        raise _StatisticsReached

    if _is_batch_norm(layer):
        hook = layer.register_forward_pre_hook(measure_inputs)
    else:
        hook = layer.register_forward_hook(measure_outputs)
    for batch in batches:
        with suppress(_StatisticsReached):
            model(batch.to(parameter_device(model)))
    hook.remove()
    _change(layer, batch_norm.merge_stats(parts), target)


def _change(
    layer: nn.Module, measured: ChannelStats, target: PreActivationStats
) -> tuple[Tensor, Tensor]:
    """Let a layer's outputs have the mean and standard deviation of `target`.

    Args:
        layer: changed in place.
        measured: of the inputs of batch norm, of the outputs of any other layer.
        target: of the outputs.

    Returns:
        By what each channel of the outputs is multiplied and what is then added, (channels,) both.
    """
    weight, bias = layer.weight, layer.bias
    assert isinstance(weight, Tensor) and isinstance(bias, Tensor)  # by `pre_activation_stats`
    mean, std = measured.mean.to(weight), measured.variance.sqrt().to(weight)
    constant = std <= LEAST_STD * mean.abs()
    if _is_batch_norm(layer):
        std = weight.abs() * _reset(layer, measured)
        mean = bias
        constant |= std == 0
    scale = torch.where(constant, 1, target.std.to(weight) / std)
    shift = target.mean.to(weight) - scale * mean
    weight.mul_(_rows(scale, weight))
    bias.mul_(_rows(scale, bias)).add_(_rows(shift, bias))
    return scale, shift


def _is_batch_norm(layer: nn.Module) -> bool:
    return isinstance(layer, _BatchNorm) and layer.running_mean is not None


def _reset(layer: nn.Module, measured: ChannelStats) -> Tensor:
    """Reset running statistics; returns the standard deviation of what is normalized by them."""
    assert isinstance(layer, _BatchNorm) and layer.running_mean is not None
    assert layer.running_var is not None
    mean, variance, count = measured
    if count < 2:
        raise ValueError(f"inputs: batch norm needs two or more values per channel, got {count}")
    layer.running_mean.copy_(mean)
    layer.running_var.copy_(variance * (count / (count - 1)))  # unbiased, as in training
    if layer.num_batches_tracked is not None:
        layer.num_batches_tracked.fill_(1)
    return (variance.to(layer.running_var) / (layer.running_var + layer.eps)).sqrt()


def _rows(channels: Tensor, like: Tensor) -> Tensor:
    """(channels,) with axes of size 1 for the further axes of `like`."""
    return channels.view(-1, *[1] * (like.dim() - 1))
