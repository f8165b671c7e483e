"""Forward passes of given weights over a fixed set of inputs."""

from collections.abc import Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn

from isthmus.state_dicts import StateDict


def loaded(model: nn.Module, state_dict: StateDict) -> nn.Module:
    """A copy of `model` in evaluation mode, with the weights of `state_dict`."""
    copy = deepcopy(model).eval()
    copy.load_state_dict(state_dict)
    return copy


def device_of(model: nn.Module) -> torch.device:
    """Where the parameters of `model` are."""
    return next(model.parameters()).device


def chunks(inputs: Tensor, chunk_size: int) -> Sequence[Tensor]:
    """Parts of `inputs`, each for one forward pass.

    Args:
        inputs: (examples, ...).
        chunk_size: the largest number of examples in a part.

    Raises:
        ValueError: `chunk_size` or the number of `inputs` is below 1.
    """
    if chunk_size < 1:
        raise ValueError(f"chunk_size: must be at least 1, got {chunk_size}")
    if len(inputs) == 0:
        raise ValueError("inputs: activations need at least one example, got none")
    return inputs.split(chunk_size)
