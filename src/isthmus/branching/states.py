"""The mean of several trainings, as state from which one can train on."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from isthmus.runs import load_state, save_state


def save_mean(path: Path, files: Sequence[Path]) -> None:
    """Write the mean of snapshots' states.

    Args:
        path: of the mean.
        files: states of trainings of one recipe; the last one lends what cannot be averaged.
    """
    save_state(path, mean([load_state(file) for file in files]))


def mean(states: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The mean of the states of several trainings of one recipe.

    Buffers of the optimizer, such as momentum, are averaged over the trainings that have them: one
    that has not begun has none, and does not count as 0. Averaged models are averaged if all have
    the same. Counters, learning rates and the schedule are those of the last one.

    Args:
        states: as `Session.state_dict` returns them.
    """
    last = states[-1]
    optimizers = [state["training"]["optimizer"] for state in states]
    optimizer = {**optimizers[-1], "state": _mean_of_buffers([o["state"] for o in optimizers])}
    training = {**last["training"], "optimizer": optimizer}
    return {**last, "training": training, "averages": _mean([s["averages"] for s in states])}


def _mean_of_buffers(states: list[dict[int, dict[str, Any]]]) -> dict[int, dict[str, Any]]:
    """By parameter and name of the buffer, over those that have it."""
    found: dict[int, dict[str, list[Any]]] = {}
    for state in states:
        for parameter, buffers in state.items():
            for name, value in buffers.items():
                found.setdefault(parameter, {}).setdefault(name, []).append(value)
    return {
        parameter: {name: _mean(values) for name, values in buffers.items()}
        for parameter, buffers in found.items()
    }


def _mean(values: Sequence[Any]) -> Any:
    """The mean of tensors of floating point, entry by entry; of all else the last."""
    last = values[-1]
    if isinstance(last, dict) and all(list(value) == list(last) for value in values):
        return {key: _mean([value[key] for value in values]) for key in last}
    if isinstance(last, list) and all(len(value) == len(last) for value in values):
        return [_mean(entries) for entries in zip(*values, strict=True)]
    if isinstance(last, Tensor) and last.is_floating_point() and last.dim() > 0:
        return torch.stack([value.double() for value in values]).mean(dim=0).to(last.dtype)
    return last
