"""Masks: for each layer that can be pruned, which of its weights have a place (1) or none (0)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from isthmus import runs

Mask = dict[str, Tensor]  # by name of the parameter, of its shape; torch.bool, on the CPU
COLUMNS = ("layer", "num_weights", "num_kept", "density", "sparsity")


def dense(shapes: Mapping[str, torch.Size]) -> Mask:
    """A mask that keeps everything.

    Args:
        shapes: of the weights by name.
    """
    return {name: torch.ones(shape, dtype=torch.bool) for name, shape in shapes.items()}


def num_kept(mask: Mask) -> dict[str, int]:
    """Weights that have a place, by layer."""
    return {name: int(kept.sum()) for name, kept in mask.items()}


def density(mask: Mask) -> float:
    """Share of all weights that have a place, in layers that are never pruned too."""
    return sum(num_kept(mask).values()) / sum(kept.numel() for kept in mask.values())


def table(mask: Mask) -> list[tuple[str, int, int, float, float]]:
    """What a mask keeps of each layer, and of all together in the last row, "total"."""
    kept, sizes = num_kept(mask), {name: part.numel() for name, part in mask.items()}
    counts = [(name, sizes[name], kept[name]) for name in mask]
    counts.append(("total", sum(sizes.values()), sum(kept.values())))
    return [(name, size, left, left / size, (size - left) / size) for name, size, left in counts]


def check(mask: Mask, shapes: Mapping[str, torch.Size]) -> None:
    """Refuse a mask of another network.

    Args:
        mask: of some layers.
        shapes: of the parameters by name.

    Raises:
        ValueError: naming the first layer that is not there or is of another shape.
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


def check_not_empty(mask: Mask, words: str) -> None:
    """Refuse a mask that leaves a layer without weights: nothing would get through it.

    Raises:
        ValueError: naming `words` and the layer.
    """
    empty = [name for name, count in num_kept(mask).items() if count == 0]
    if empty:
        raise ValueError(f"{words} would empty {', '.join(empty)}: no weight is left of it")


def fitted(mask: Mask, model: nn.Module, output: str | None) -> Mask:
    """A mask for a network whose output layer may have another number of classes.

    Such a layer is a fresh one, of which every weight is kept.

    Args:
        mask: of a network that may differ in its output layer.
        model: the network that it is for.
        output: name of the weights of its output layer.

    Raises:
        ValueError: the two differ in more.
    """
    shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
    same = {n: kept for n, kept in mask.items() if n != output or kept.shape == shapes.get(n)}
    check(same, shapes)
    return same | dense({n: shapes[n] for n in mask if n not in same and n in shapes})


def applied(state: Any, mask: Mask) -> Any:
    """A copy of state with 0 for every weight that has no place.

    Args:
        state: tensors by name, in dicts and lists of whatever depth; what is not in the mask, or
            is of another shape, stays as it is.
        mask: of some layers.
    """
    if isinstance(state, Mapping):
        return {
            name: value.masked_fill(~mask[name].to(value.device), 0)
            if _is_masked(name, value, mask)
            else applied(value, mask)
            for name, value in state.items()
        }
    return [applied(value, mask) for value in state] if isinstance(state, list) else state


def save(path: Path, mask: Mask, metadata: dict[str, Any]) -> None:
    """Write a mask, with what is said of it."""
    runs.save_weights(path, mask, {"kind": "mask", **metadata})


def load(path: Path) -> Mask:
    """A mask that `save` wrote.

    Raises:
        FileNotFoundError: it is not there.
        ValueError: the file is damaged, or holds something else.
    """
    tensors, metadata = runs.load_tensors(path)
    if metadata.get("kind") != "mask":
        raise ValueError(f"{path} holds no mask but weights ({metadata.get('kind')})")
    return tensors


def _is_masked(name: Any, value: Any, mask: Mask) -> bool:
    return isinstance(value, Tensor) and name in mask and value.shape == mask[name].shape
