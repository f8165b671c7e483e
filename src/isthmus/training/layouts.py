"""The memory format that images and weights of a network have."""

from dataclasses import replace

import torch
from torch import nn

from isthmus.training.recipe import Runtime

FEW = 8  # input channels, below which oneDNN corrupts memory


def runtime_for(runtime: Runtime, model: nn.Module, device: torch.device) -> Runtime:
    """How a network runs: in channels_last only where that is safe.

    In channels_last, the backward pass of a 1x1 convolution with a stride and fewer than eight
    input channels writes beyond its memory on CPUs with AVX2 and no AVX-512 (oneDNN of torch 2.13;
    README, "Known problems"). A network with such a layer is contiguous on every CPU, so that its
    numbers do not depend on which it is.

    Args:
        runtime: as asked for.
        model: the network.
        device: where it runs.
    """
    is_unsafe = device.type == "cpu" and any(map(_is_unsafe, model.modules()))
    return replace(runtime, channels_last=runtime.channels_last and not is_unsafe)


def _is_unsafe(module: nn.Module) -> bool:
    return (
        isinstance(module, nn.Conv2d)
        and module.kernel_size == (1, 1)
        and module.stride != (1, 1)
        and module.groups == 1
        and module.in_channels < FEW
    )
