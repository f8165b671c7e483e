"""Pruning strategies: which weights the next level removes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from isthmus import rng
from isthmus.training import masks
from isthmus.training.masks import Mask
from isthmus.vocabulary import PositiveShare


@dataclass(frozen=True)
class PruningGroup:
    """Layers whose weights are compared with each other.

    Args:
        layers: names of their weights.
        fraction: of what is left that each level prunes.
    """

    layers: list[str]
    fraction: float


@dataclass(frozen=True)
class SparseGlobal:
    """Prunes the smallest weights of the whole network (Frankle et al., 2020).

    Args:
        fraction: of the weights that are left that each level prunes, in (0, 1).
        ignore: layers that are never pruned: names, or patterns such as "stages.2.*"; None for the
            output layer, and in residual networks nothing.

    Raises:
        ValueError: `fraction` is outside its range.
    """

    fraction: PositiveShare = 0.2
    ignore: list[str] | None = None

    name: ClassVar[str] = "sparse_global"
    rewind: ClassVar[str] = "weights"  # default of the option `rewind`; "none" allows no other

    def __post_init__(self) -> None:
        if not 0 < self.fraction < 1:
            raise ValueError(f"fraction: must be in (0, 1), got {self.fraction}")

    def groups(self, layers: masks.PrunableLayers) -> list[PruningGroup]:
        """Layers that are pruned, by group.

        Raises:
            ValueError: a pattern of `ignore` matches nothing, or all.
        """
        ignored = layers.ignored_layers(self.ignore)
        return [PruningGroup([name for name in layers.sizes if name not in ignored], self.fraction)]

    def scores(self, weights: Mapping[str, Tensor], level: int, seed: int) -> dict[str, Tensor]:
        """Scores of weights, in their shapes: the weights of smallest score are pruned.

        Args:
            weights: by layer, as trained.
            level: that they are pruned for.
            seed: of the study.
        """
        return {name: weight.abs() for name, weight in weights.items()}


@dataclass(frozen=True)
class Han(SparseGlobal):
    """Prunes the smallest weights of the whole network; the others keep their values and are
    trained further (Han et al., 2015).

    Args:
        fraction: see `SparseGlobal`.
        ignore: see `SparseGlobal`.
    """

    name: ClassVar[str] = "han"
    rewind: ClassVar[str] = "none"


@dataclass(frozen=True)
class Fc19(SparseGlobal):
    """Prunes the smallest weights of each layer, of the output layer at half the rate (Frankle &
    Carbin, 2019).

    Args:
        fraction: see `SparseGlobal`; of the output layer half of it.
        ignore: see `SparseGlobal`; None for nothing.
    """

    name: ClassVar[str] = "fc19"

    def groups(self, layers: masks.PrunableLayers) -> list[PruningGroup]:
        """See `SparseGlobal`: each layer by itself."""
        ignored = layers.ignored_layers(self.ignore or [])
        return [
            PruningGroup([name], self.fraction / 2 if name == layers.output else self.fraction)
            for name in layers.sizes
            if name not in ignored
        ]


@dataclass(frozen=True)
class Random(SparseGlobal):
    """Prunes random weights of the whole network: the baseline of all other strategies.

    Args:
        fraction: see `SparseGlobal`.
        ignore: see `SparseGlobal`.
        seed: of the draw; None for that of the study.
    """

    seed: int | None = None

    name: ClassVar[str] = "random"

    def scores(self, weights: Mapping[str, Tensor], level: int, seed: int) -> dict[str, Tensor]:
        """See `SparseGlobal`: numbers that have nothing to do with the weights."""
        seed = seed if self.seed is None else self.seed
        return {
            name: torch.rand(weight.shape, generator=rng.generator(seed, "prune", level, name))
            for name, weight in weights.items()
        }


def prune_mask(
    strategy: SparseGlobal,
    layers: masks.PrunableLayers,
    weights: Mapping[str, Tensor],
    mask: Mask,
    level: int,
    seed: int,
    first: Mask | None = None,
) -> Mask:
    """The mask of a level: that of the level before, less what its strategy prunes.

    In each group exactly `masks.num_pruned` of the weights of level 0 are pruned. Of equal scores
    the first is pruned first, in the order of the layers and within a layer of its rows.

    Args:
        strategy: how weights are compared.
        layers: of the network.
        weights: of the network, trained under `mask`.
        mask: of the level before.
        level: 1 or more.
        seed: of the study, for what is drawn at random.
        first: the mask of level 0 where that is a ticket; None: it has all weights.
    """
    result = dict(mask)
    for group in strategy.groups(layers):
        group_weights = {name: weights[name].cpu() for name in group.layers}
        scores = strategy.scores(group_weights, level, seed)
        left = torch.cat([mask[name].flatten() for name in group.layers])
        places = left.nonzero().squeeze(1)
        num_first = len(left) if first is None else sum(int(first[n].sum()) for n in group.layers)
        num_left = num_first - masks.num_pruned(num_first, group.fraction, level)
        flat = torch.cat([scores[name].flatten() for name in group.layers])[places]
        num_gone = max(len(places) - num_left, 0)
        left[places[torch.argsort(flat, stable=True)[:num_gone]]] = False
        parts = left.split([layers.sizes[name] for name in group.layers])
        for name, part in zip(group.layers, parts, strict=True):
            result[name] = part.view(mask[name].shape)
    return result
