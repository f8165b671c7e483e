"""A network of a stack as weights that other scripts read."""

from typing import Any

import torch
from torch import Tensor

from isthmus.extraction.stacks import Stack


def state_dict(network: Stack) -> dict[str, Tensor]:
    """Weights of a stack of one, under the names of `MLP` and `SkipMLP`."""
    names = [f"hidden.{number}" for number in range(len(network.layers) - 1)]
    weights = {}
    for name, layer in zip([*names, "output"], network.layers, strict=True):
        weights[f"{name}.weight"] = torch.cat([block[0] for block in layer.blocks], dim=1)
        weights[f"{name}.bias"] = layer.bias[0]
    return weights


def node(network: Stack) -> dict[str, Any]:
    """What makes a model for these weights, as in a configuration."""
    made = {
        "_target_": "MLP",
        "_partial_": True,
        "width": network.widths[:-1],
        "activation": network.activation,
    }
    reads = [len(layer.blocks) for layer in network.layers]
    if max(reads) == 1:
        return made
    return made | {"_target_": "SkipMLP", "reads": reads}
