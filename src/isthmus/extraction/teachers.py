"""Teachers: networks that answer queries, and whose weights one would like to know."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from isthmus import chance, runs, saved
from isthmus.extraction.stacks import Layer, Stack
from isthmus.models.activations import Activation
from isthmus.models.mlp import MLP
from isthmus.training import weight_files

LENGTH = 2.0  # of what goes into a unit of a synthetic teacher, but for its bias


@dataclass(frozen=True, eq=False)
class Teacher:
    """A fully connected network.

    Args:
        network: its weights, a stack of one.
        metadata: of the file that it was read from; None for a synthetic one.
    """

    network: Stack
    metadata: dict[str, Any] | None = None

    @property
    def num_inputs(self) -> int:
        return self.network.layers[0].blocks[0].shape[2]

    @torch.no_grad()
    def outputs(self, inputs: Tensor, rows: int = 4096) -> Tensor:
        """(batch, outputs), without noise."""
        return torch.cat([self.network.outputs([part])[0] for part in inputs.split(rows)])


def read(path: str) -> Teacher:
    """The teacher in a weights file that `train.py` wrote.

    Raises:
        ValueError: it is no MLP with a hidden layer.
        FileNotFoundError: naming the weights that are there.
    """
    metadata = runs.load_metadata(Path(path))
    model = saved.model(metadata)
    if not isinstance(model, MLP):
        raise ValueError(
            f"teacher={path}: is a {type(model).__name__}; only an MLP can be recovered, such as "
            f"those of train.py model=mlp"
        )
    if len(model.hidden) == 0:
        raise ValueError(f"teacher={path}: has no hidden layer, so no units to recover")
    weights = weight_files.load(Path(path), model)
    names = [*(f"hidden.{number}" for number in range(len(model.hidden))), "output"]
    layers = []
    for name in names:
        weight = weights[f"{name}.weight"].float()
        bias = weights.get(f"{name}.bias", torch.zeros(len(weight))).float()
        layers.append(Layer((weight.unsqueeze(0),), bias.unsqueeze(0)))
    activation = metadata["config"]["model"].get("activation", "relu")
    return Teacher(Stack(tuple(layers), activation), metadata)


def synthetic(sizes: Sequence[int], activation: Activation, seed: int) -> Teacher:
    """A teacher whose units all matter and differ from each other.

    What goes into a unit has a direction drawn uniformly and length 2; its bias is uniform in
    [-1, 1]. What goes out has a random sign and a size uniform in [1/2, 1], over the square root of
    the number of units. So no unit is negligible, and none is linear on inputs of variance 1.

    Args:
        sizes: features of the inputs, units of each hidden layer, outputs.
        activation: of the hidden layers.
        seed: of what is drawn.
    """
    generator = chance.generator(seed, "teacher")

    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator)

    layers = []
    for inputs, units in pairwise(sizes[:-1]):
        directions = torch.randn(units, inputs, generator=generator)
        weight = LENGTH * torch.nn.functional.normalize(directions, dim=1)
        layers.append(Layer((weight.unsqueeze(0),), (2 * uniform(units) - 1).unsqueeze(0)))
    shape = (sizes[-1], sizes[-2])
    signs = torch.where(uniform(*shape) < 0.5, -1.0, 1.0)
    weight = signs * (0.5 + 0.5 * uniform(*shape)) / math.sqrt(sizes[-2])
    layers.append(Layer((weight.unsqueeze(0),), (2 * uniform(sizes[-1]) - 1).unsqueeze(0)))
    return Teacher(Stack(tuple(layers), activation))
