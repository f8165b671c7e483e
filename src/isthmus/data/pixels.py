"""From stored values to what a network sees, in either memory format."""

import torch
from torch import Tensor

from isthmus.data.splits import Normalization


def affine(
    normalization: Normalization, shape: tuple[int, ...], channels_last: bool
) -> tuple[Tensor, Tensor]:
    """The factor and the offset for which normalized = stored * factor + offset.

    Args:
        normalization: with one value a channel, or one for all.
        shape: (channels, height, width) or (features,) of an input.
        channels_last: lay out (height, width, channels).

    Returns:
        Two tensors of that whole shape: multiplying by them needs no broadcasting within an image,
        which is several times faster.

    Raises:
        ValueError: the numbers of channels differ.
    """
    mean = torch.tensor(normalization.mean, dtype=torch.float64)
    std = torch.tensor(normalization.std, dtype=torch.float64)
    if not len(mean) == len(std) or len(mean) not in (1, shape[0]):
        raise ValueError(
            f"normalization: {len(mean)} means and {len(std)} stds for {shape[0]} channels"
        )
    factor, offset = 1 / (normalization.scale * std), -mean / std
    return spread(factor, shape, channels_last), spread(offset, shape, channels_last)


def spread(values: Tensor, shape: tuple[int, ...], channels_last: bool) -> Tensor:
    """One value a channel, repeated over `shape` in the layout asked for."""
    whole = values.view(-1, *[1] * (len(shape) - 1)).expand(shape).float()
    return whole.permute(1, 2, 0).contiguous() if channels_last else whole.contiguous()


def normalize(stored: Tensor, factor: Tensor, offset: Tensor) -> Tensor:
    """stored * factor + offset as float32, in memory of its own.

    Args:
        stored: (batch, *shape) contiguous.
        factor: (*shape), from `affine`.
        offset: likewise.
    """
    inputs = stored.to(torch.float32, copy=True)
    return torch.addcmul(offset, inputs, factor, out=inputs)


def as_inputs(values: Tensor, channels_last: bool) -> Tensor:
    """(batch, channels, height, width) of values laid out with channels last, else as they are."""
    return values.permute(0, 3, 1, 2) if channels_last else values


def laid_out(inputs: Tensor, channels_last: bool) -> Tensor:
    """Inputs in memory as (examples, height, width, channels) if asked for, else as they are."""
    return inputs.permute(0, 2, 3, 1).contiguous() if channels_last else inputs.contiguous()
