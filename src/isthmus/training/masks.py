"""Pruning masks: which weights of a network are kept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from isthmus import rng
from isthmus.models.freeze import output_layer
from isthmus.models.layers import BasicBlock, Bottleneck
from isthmus.store import files


def num_pruned(num_weights: int, fraction: float, level: int) -> int:
    """Number of weights that are pruned at a level, counted from the dense network.

    `num_weights * (1 - (1 - fraction) ** level)`, rounded to the nearest whole number and halves
    to the even one, as `torch.nn.utils.prune` rounds. It is computed from the dense network, not
    from the previous level, so that roundings do not add up; exactly, with `fraction` as typed.

    Args:
        num_weights: of the dense network.
        fraction: of the remaining weights that each level prunes, in (0, 1).
        level: 0 for the dense network.
    """
    kept = (1 - Fraction(repr(fraction))) ** level
    return round(num_weights * (1 - kept))


def share_out(sizes: Mapping[str, int], total: int) -> dict[str, int]:
    """Divide `total` among layers in proportion to their sizes, in whole numbers that sum to it.

    The layers whose exact share loses most by rounding down get one more; of equal ones the first
    (the method of largest remainders).

    Args:
        sizes: weights by layer.
        total: at most the sum of the sizes.
    """
    whole = sum(sizes.values())
    exact = {name: Fraction(size * total, whole) for name, size in sizes.items()}
    result = {name: int(share) for name, share in exact.items()}
    left = total - sum(result.values())
    by_loss = sorted(sizes, key=lambda name: result[name] - exact[name])  # stable
    return {name: count + (name in by_loss[:left]) for name, count in result.items()}


def check_room(
    groups: Sequence[tuple[Mapping[str, int], float]], levels: int, fraction_name: str
) -> None:
    """Refuse levels with fewer remaining weights than layers.

    Args:
        groups: sizes by layer of layers that are pruned together, and their rate.
        levels: the last level.
        fraction_name: option that the rate comes from, as typed, for the message.

    Raises:
        ValueError: naming the first such level.
    """
    for level in range(1, levels + 1):
        for sizes, rate in groups:
            num_weights = sum(sizes.values())
            left = num_weights - num_pruned(num_weights, rate, level)
            if left < len(sizes):
                raise ValueError(
                    f"{fraction_name}: level {level} would keep {left} of the {num_weights} "
                    f"weights of {', '.join(sizes)}, and so empty a layer; "
                    f"at most {level - 1} levels are possible"
                )


Mask = dict[str, Tensor]  # by name of the parameter, of its shape; torch.bool, on the CPU
COLUMNS = ("layer", "num_weights", "num_kept", "density", "sparsity")


def dense_mask(shapes: Mapping[str, torch.Size]) -> Mask:
    """A mask that keeps everything.

    Args:
        shapes: of the weights by name.
    """
    return {name: torch.ones(shape, dtype=torch.bool) for name, shape in shapes.items()}


def num_kept(mask: Mask) -> dict[str, int]:
    """Number of kept weights by layer."""
    return {name: int(kept.sum()) for name, kept in mask.items()}


def density(mask: Mask) -> float:
    """Fraction of all weights that are kept, also counting layers that are never pruned."""
    return sum(num_kept(mask).values()) / sum(kept.numel() for kept in mask.values())


def sparsity_table(mask: Mask) -> list[tuple[str, int, int, float, float]]:
    """Rows of `COLUMNS`: what a mask keeps of each layer, and in the last row, "total", of all."""
    kept, sizes = num_kept(mask), {name: part.numel() for name, part in mask.items()}
    counts = [(name, sizes[name], kept[name]) for name in mask]
    counts.append(("total", sum(sizes.values()), sum(kept.values())))
    return [(name, size, left, left / size, (size - left) / size) for name, size, left in counts]


def check_mask(mask: Mask, shapes: Mapping[str, torch.Size]) -> None:
    """Refuse a mask of another network.

    Args:
        mask: of some layers.
        shapes: of the parameters by name.

    Raises:
        ValueError: naming the first layer that is missing or has another shape.
    """
    for name, kept in mask.items():
        if name not in shapes:
            raise ValueError(
                f"a mask of another model: it has {name}, and the model has {', '.join(shapes)}"
            )
        if kept.shape != shapes[name]:
            raise ValueError(
                f"a mask of another model: its {name} has shape {tuple(kept.shape)}, and that of "
                f"the model {tuple(shapes[name])}"
            )


def check_not_empty(mask: Mask, source: str) -> None:
    """Refuse a mask that leaves a layer without weights: no signal would pass it.

    Raises:
        ValueError: naming `source` and the layer.
    """
    empty = [name for name, count in num_kept(mask).items() if count == 0]
    if empty:
        raise ValueError(f"{source} would empty {', '.join(empty)}: no weight is left of it")


def adapt_to_output_layer(mask: Mask, model: nn.Module, output: str | None) -> Mask:
    """Adapt a mask to a network whose output layer may have another number of classes.

    Every weight of an output layer of another shape is kept.

    Args:
        mask: of a network that may differ in its output layer.
        model: the network that it is for.
        output: name of the weights of its output layer.

    Raises:
        ValueError: the two differ in other layers.
    """
    shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
    same = {n: kept for n, kept in mask.items() if n != output or kept.shape == shapes.get(n)}
    check_mask(same, shapes)
    return same | dense_mask({n: shapes[n] for n in mask if n not in same and n in shapes})


def apply_mask(state: Any, mask: Mask) -> Any:
    """A copy of a state with pruned weights set to 0.

    Args:
        state: tensors by name, in nested dicts and lists; tensors that are not in the mask, or
            have another shape, are unchanged.
        mask: of some layers.
    """
    if isinstance(state, Mapping):
        return {
            name: value.masked_fill(~mask[name].to(value.device), 0)
            if _is_masked(name, value, mask)
            else apply_mask(value, mask)
            for name, value in state.items()
        }
    return [apply_mask(value, mask) for value in state] if isinstance(state, list) else state


def save_mask(path: Path, mask: Mask, metadata: dict[str, Any]) -> None:
    """Write a mask with its metadata."""
    files.save_weights(path, mask, {"kind": "mask", **metadata})


def load_mask(path: Path) -> Mask:
    """Read a mask that `save_mask` wrote.

    Raises:
        FileNotFoundError: it is not there.
        ValueError: the file is damaged, or holds something else.
    """
    tensors, metadata = files.load_tensors(path)
    if metadata.get("kind") != "mask":
        raise ValueError(f"{path} holds no mask but weights ({metadata.get('kind')})")
    return tensors


def _is_masked(name: Any, value: Any, mask: Mask) -> bool:
    return isinstance(value, Tensor) and name in mask and value.shape == mask[name].shape


def shuffle_mask(
    mask: Mask, strategy: str, pruned: Sequence[str], seed: int, first: Mask | None = None
) -> Mask:
    """A mask that keeps as many weights at other positions.

    Args:
        mask: of a level.
        strategy: "layerwise" shuffles the positions within each layer; "global" over all layers
            together; "even" gives each layer the same density, at random positions; "identity"
            changes nothing.
        pruned: layers whose positions are shuffled; the others are unchanged.
        seed: of the shuffle.
        first: the mask of level 0 if that is a ticket, among whose positions new ones are drawn;
            None: it has all weights.

    Raises:
        ValueError: `strategy` is another one.
    """
    parts = {name: mask[name] for name in mask if name in pruned}
    positions = {
        name: (torch.ones_like(part) if first is None else first[name]).flatten().nonzero()[:, 0]
        for name, part in parts.items()
    }
    kept, sizes = num_kept(parts), {name: len(part) for name, part in positions.items()}
    if strategy == "identity":
        return dict(mask)
    if strategy == "global":
        left = torch.cat([parts[name].flatten()[positions[name]] for name in parts])
        order = torch.randperm(len(left), generator=rng.generator(seed, "global"))
        pieces = left[order].split(list(sizes.values()))
        drawn = {name: positions[name][piece] for name, piece in zip(parts, pieces, strict=True)}
    elif strategy in ("layerwise", "even"):
        counts = share_out(sizes, sum(kept.values())) if strategy == "even" else kept
        drawn = {
            name: positions[name][
                torch.randperm(sizes[name], generator=rng.generator(seed, strategy, name))
            ][: counts[name]]
            for name in parts
        }
    else:
        raise ValueError(f"strategy: must be layerwise, global, even or identity, got {strategy}")
    result = dict(mask)
    for name, part in parts.items():
        flat = torch.zeros(part.numel(), dtype=torch.bool)
        flat[drawn[name]] = True
        result[name] = flat.view(part.shape)
    return result


PRUNABLE = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


@dataclass(frozen=True)
class PrunableLayers:
    """The weights of a network that can be pruned.

    Args:
        sizes: numbers of weights by name of the parameter, in the order of the network.
        output: the parameter of the output layer among them; None if there is none.
        residual: whether the network has residual blocks.
    """

    sizes: dict[str, int]
    output: str | None
    residual: bool

    def ignored_layers(self, patterns: Sequence[str] | None) -> list[str]:
        """Names of layers that are not pruned.

        Args:
            patterns: names of layers or parameters, or patterns such as "stages.2.*"; None for the
                output layer, or nothing in a residual network, as in Frankle et al. (2020).

        Raises:
            ValueError: a pattern matches nothing, or nothing is left to prune.
        """
        if patterns is None:
            names = [] if self.residual or self.output is None else [self.output]
        else:
            names = [name for name in self.sizes if any(_matches(name, p) for p in patterns)]
        for pattern in patterns or []:
            if not any(_matches(name, pattern) for name in self.sizes):
                raise ValueError(
                    f"ignore: {pattern!r} matches no layer; there are {', '.join(self.sizes)}"
                )
        if len(names) == len(self.sizes):
            raise ValueError(
                f"ignore: {', '.join(names) or 'this network'} leaves nothing to prune; "
                f"there are {', '.join(self.sizes) or 'no layers of weights'}"
            )
        return names


def prunable_layers(model: nn.Module) -> PrunableLayers:
    """The weights of `model` that can be pruned: those of linear layers and convolutions.

    Biases and what belongs to normalization are not, as in Frankle & Carbin (2019). A weight that
    two layers share counts once.
    """
    parameters = dict(model.named_parameters())
    names = [
        f"{prefix}.weight" if prefix else "weight"
        for prefix, module in model.named_modules()
        if isinstance(module, PRUNABLE)
    ]
    sizes = {name: parameters[name].numel() for name in names if name in parameters}
    blocks = any(isinstance(module, BasicBlock | Bottleneck) for module in model.modules())
    return PrunableLayers(sizes, _output(model, sizes), blocks)


def _output(model: nn.Module, sizes: dict[str, int]) -> str | None:
    try:
        name = f"{output_layer(model)}.weight".lstrip(".")
    except ValueError:  # no linear layer
        return None
    return name if name in sizes else None


def _matches(name: str, pattern: str) -> bool:
    return any(fnmatchcase(part, pattern) for part in (name, name.rpartition(".")[0]))
