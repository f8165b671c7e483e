"""Interpolated networks whose hidden channels vary as much as those of the two ends."""

from collections.abc import Mapping, Sequence
from contextlib import suppress

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from isthmus.connectivity.forward import chunks, device_of, loaded
from isthmus.connectivity.pre_activations import Statistics
from isthmus.state_dicts import StateDict
from isthmus.training import moments
from isthmus.training.moments import Moments

LEAST_STD = 1e-6  # of the mean: a channel that varies less is constant but for rounding


@torch.no_grad()
def repaired(
    model: nn.Module,
    state_dict: StateDict,
    targets: Mapping[str, Statistics],
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
        targets: by layer, in order of use, as `pre_activations.lerp` returns them.
        inputs: (examples, ...), those on which the targets were measured, on any device.
        chunk_size: the largest number of examples in one forward pass, at least 1.

    Returns:
        The same keys and types as `state_dict`, on its devices.

    Raises:
        ValueError: `chunk_size` or the number of `inputs` is below 1, or batch norm gets one value
            per channel.
    """
    batches = chunks(inputs, chunk_size)
    copy = loaded(model, state_dict)
    layers = [(copy.get_submodule(name), target) for name, target in targets.items()]
    if len(batches) == 1:
        _repair_together(copy, layers, inputs)
    else:
        for layer, target in layers:
            _repair(copy, layer, target, batches)
    return {name: tensor.to(state_dict[name].device) for name, tensor in copy.state_dict().items()}


def _repair_together(
    model: nn.Module, layers: Sequence[tuple[nn.Module, Statistics]], inputs: Tensor
) -> None:
    """Change each layer, and what leaves it, as soon as one forward pass reaches it."""

    def before(layer: nn.Module, args: tuple[Tensor, ...]) -> None:
        _change(layer, moments.of(args[0]), of[layer])

    def after(layer: nn.Module, args: tuple[Tensor, ...], outputs: Tensor) -> Tensor:
        scale, shift = _change(layer, moments.of(outputs), of[layer])
        return outputs * _rows(scale, outputs[0]) + _rows(shift, outputs[0])

    of = dict(layers)
    for layer in of:
        if _is_batch_norm(layer):
            layer.register_forward_pre_hook(before)
        else:
            layer.register_forward_hook(after)
    model(inputs.to(device_of(model)))


class _Reached(Exception):
    """Ends a forward pass at the layer that was asked for."""


def _repair(
    model: nn.Module, layer: nn.Module, target: Statistics, batches: Sequence[Tensor]
) -> None:
    """Change one layer by what reaches or leaves it in all batches."""
    parts: list[Moments] = []

    def before(_: nn.Module, args: tuple[Tensor, ...]) -> None:
        parts.append(moments.of(args[0]))
        raise _Reached

    def after(_: nn.Module, args: tuple[Tensor, ...], outputs: Tensor) -> None:
        parts.append(moments.of(outputs))
        raise _Reached

    if _is_batch_norm(layer):
        hook = layer.register_forward_pre_hook(before)
    else:
        hook = layer.register_forward_hook(after)
    for batch in batches:
        with suppress(_Reached):
            model(batch.to(device_of(model)))
    hook.remove()
    _change(layer, moments.merged(parts), target)


def _change(layer: nn.Module, measured: Moments, target: Statistics) -> tuple[Tensor, Tensor]:
    """Let a layer's outputs have the mean and standard deviation of `target`.

    Args:
        layer: changed in place.
        measured: of the inputs of batch norm, of the outputs of any other layer.
        target: of the outputs.

    Returns:
        By what each channel of the outputs is multiplied and what is then added, (channels,) both.
    """
    weight, bias = layer.weight, layer.bias
    assert isinstance(weight, Tensor) and isinstance(bias, Tensor)  # by `pre_activations`
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


def _reset(layer: nn.Module, measured: Moments) -> Tensor:
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
