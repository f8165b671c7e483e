"""Batch-norm statistics of given weights: re-estimated from inputs, or taken from others."""

from collections.abc import Sequence
from contextlib import suppress
from copy import deepcopy
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from isthmus.state_dicts import StateDict


class ChannelStats(NamedTuple):
    """Mean and variance of values in each channel.

    Args:
        mean: (channels,).
        variance: (channels,), biased.
        num_values: in each channel.
    """

    mean: Tensor
    variance: Tensor
    num_values: int


def channel_stats(values: Tensor) -> ChannelStats:
    """Mean and variance over all axes except the channels, in float32 or better.

    Two plain reductions: `torch.var_mean` takes twice as long on a CPU.

    Args:
        values: (batch, channels, ...).
    """
    if values.dtype in (torch.float16, torch.bfloat16):
        values = values.float()
    rows = values.movedim(1, -1)  # (batch, *space, channels)
    axes = tuple(range(rows.dim() - 1))
    mean = rows.mean(axes)
    variance = (rows - mean).square_().mean(axes)
    return ChannelStats(mean, variance, values.numel() // values.shape[1])


def merge_stats(parts: Sequence[ChannelStats]) -> ChannelStats:
    """Mean and variance of all parts together; several parts in float64 and on the CPU.

    Args:
        parts: at least one; by the parallel formula of Chan et al. (1979).
    """
    if len(parts) == 1:
        return parts[0]
    num_values = sum(part.num_values for part in parts)
    means = torch.stack([part.mean for part in parts]).cpu().double()  # (parts, channels)
    variances = torch.stack([part.variance for part in parts]).cpu().double()
    shares = torch.tensor([part.num_values / num_values for part in parts], dtype=torch.float64)
    mean = shares @ means
    return ChannelStats(mean, shares @ (variances + (means - mean).square()), num_values)


def has_batch_norm(model: nn.Module) -> bool:
    """Whether `model` has running statistics, which do not fit combined weights."""
    return any(_is_batch_norm(module) for module in model.modules())


def with_statistics_of(model: nn.Module, weights: StateDict, other: StateDict) -> StateDict:
    """`weights` with the running statistics of `other`."""
    return {**weights, **{name: other[name] for name in statistics_names(model)}}


def statistics_names(model: nn.Module) -> list[str]:
    """Names of the running statistics in the state dict of `model`."""
    layers = {
        f"{name}." if name else ""
        for name, module in model.named_modules()
        if _is_batch_norm(module)
    }
    names = ("running_mean", "running_var", "num_batches_tracked")
    return [key for key in model.state_dict() for name in names if key.removesuffix(name) in layers]


@torch.no_grad()
def reset_statistics(
    model: nn.Module,
    state_dict: StateDict,
    inputs: Tensor,
    chunk_size: int = 5000,
    autocast: torch.dtype | None = None,
) -> dict[str, Tensor]:
    """Re-estimate the batch-norm statistics of weights on `inputs`.

    They are those of one pass over all of `inputs` in training mode with momentum 1 and without
    dropout: each layer sees what earlier layers give when they, too, normalize by their mean and
    (biased) variance over all of `inputs`, and stores its own mean and unbiased variance, as torch
    does. So they depend neither on the order of the examples nor, but for rounding, on
    `chunk_size`; averaging over batches (Izmailov et al., 2018) gives this for the first layer
    only. `num_batches_tracked` becomes 1: equal weights get equal state dicts. A layer without
    running statistics, or that the forward pass does not reach, is not changed.

    If `inputs` fit into one chunk this takes one forward pass; else one, up to the layer in
    question, for each batch-norm layer. Only the architecture of `model` is used: the passes run on
    a copy, and neither `model` nor the global random state changes.

    Args:
        model: in any mode; its memory format and device are used.
        state_dict: weights of that architecture; tensors other than the batch-norm statistics are
            passed on, not copied.
        inputs: (examples, ...), normalized and not augmented, on any device; with at least two
            values per channel.
        chunk_size: the largest number of examples in one forward pass, at least 1.
        autocast: type for operations that autocast considers safe; None for no autocast.

    Returns:
        The same keys and types as `state_dict`; the same tensors if there is no batch norm.

    Raises:
        ValueError: `chunk_size` or the number of `inputs` is too small, or one forward pass uses a
            batch-norm layer twice, so that it has no single mean and variance.
    """
    if not has_batch_norm(model):
        return dict(state_dict)
    if chunk_size < 1:
        raise ValueError(f"chunk_size: must be at least 1, got {chunk_size}")
    if len(inputs) == 0:
        raise ValueError("inputs: batch-norm statistics need at least one example, got none")
    copy = deepcopy(model).eval()
    copy.load_state_dict(state_dict)
    device = next(iter(copy.state_dict().values())).device
    chunks = inputs.split(chunk_size)
    with torch.autocast(device.type, dtype=autocast, enabled=autocast is not None):
        layers = _in_order_of_use(copy, inputs[:1].to(device))
        if len(chunks) == 1:
            counts = _measure_together(copy, layers, inputs.to(device))
        else:
            counts = [_measure(copy, layer, chunks, device) for layer in layers]
    for layer, count in zip(layers, counts, strict=True):
        _buffer(layer.running_var).mul_(count / (count - 1))
        if layer.num_batches_tracked is not None:
            layer.num_batches_tracked.fill_(1)
    return {**state_dict, **_statistics(copy, layers)}


def _is_batch_norm(module: nn.Module) -> bool:
    return isinstance(module, _BatchNorm) and module.running_mean is not None


def _buffer(buffer: Tensor | None) -> Tensor:
    assert buffer is not None  # by `_is_batch_norm`
    return buffer


def _in_order_of_use(model: nn.Module, inputs: Tensor) -> list[_BatchNorm]:
    """The batch-norm layers that a forward pass uses, in order of use."""
    used: list[_BatchNorm] = []
    names = {module: name for name, module in model.named_modules()}

    def note(layer: nn.Module, args: tuple[Tensor, ...]) -> None:
        assert isinstance(layer, _BatchNorm)
        if layer in used:
            raise ValueError(
                f"model: one forward pass uses the batch-norm layer {names[layer]!r} twice, "
                f"so it has no single mean and variance to reset to"
            )
        used.append(layer)

    hooks = [m.register_forward_pre_hook(note) for m in model.modules() if _is_batch_norm(m)]
    model(inputs)
    for hook in hooks:
        hook.remove()
    return used


def _measure_together(model: nn.Module, layers: list[_BatchNorm], inputs: Tensor) -> list[int]:
    """Set each layer's statistics to those of its inputs, in one pass; values per channel."""
    counts: list[int] = []

    def fix(layer: nn.Module, args: tuple[Tensor, ...]) -> None:
        assert isinstance(layer, _BatchNorm)
        counts.append(_fix(layer, [channel_stats(args[0])]))

    hooks = [layer.register_forward_pre_hook(fix) for layer in layers]
    model(inputs)
    for hook in hooks:
        hook.remove()
    return counts


class _Reached(Exception):
    """Raised to end a forward pass at the layer whose inputs are needed."""


def _measure(
    model: nn.Module, layer: _BatchNorm, chunks: Sequence[Tensor], device: torch.device
) -> int:
    """Set the statistics of `layer` to those of its inputs over all chunks; values per channel."""
    parts: list[ChannelStats] = []

    def stop(_: nn.Module, args: tuple[Tensor, ...]) -> None:
        parts.append(channel_stats(args[0]))
        raise _Reached

    hook = layer.register_forward_pre_hook(stop)
    for chunk in chunks:
        with suppress(_Reached):
            model(chunk.to(device))
    hook.remove()
    return _fix(layer, parts)


def _fix(layer: _BatchNorm, parts: list[ChannelStats]) -> int:
    """Set `layer`'s statistics to mean and biased variance of all parts; values per channel."""
    mean, variance, count = merge_stats(parts)
    if count < 2:
        raise ValueError(f"inputs: batch norm needs two or more values per channel, got {count}")
    _buffer(layer.running_mean).copy_(mean)
    _buffer(layer.running_var).copy_(variance)
    return count


def _statistics(model: nn.Module, layers: list[_BatchNorm]) -> dict[str, Tensor]:
    """The buffers of `layers`, by every name that the model has for them."""
    return {
        f"{prefix}.{name}".removeprefix("."): buffer
        for prefix, module in model.named_modules(remove_duplicate=False)
        if module in layers
        for name, buffer in module.named_buffers(recurse=False)
    }
