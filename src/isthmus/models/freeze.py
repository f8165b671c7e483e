"""Freezing of parameters: batch norm, output layer, or others."""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Literal, get_args

from torch import nn

from isthmus.models import layers as models_layers
from isthmus.models.layers import NORMS

PARTS = Literal["batch_norm", "output", "others"]


def freeze(model: nn.Module, parts: Sequence[PARTS], exceptions: Sequence[str] = ()) -> None:
    """Freeze parts of a model: set `requires_grad` of their parameters to False, in place.

    Args:
        model: any; unchanged if an argument is refused.
        parts: "batch_norm", the weights and biases of all normalization layers; "output", the last
            linear layer; "others", every other parameter.
        exceptions: names of parameters that stay as they are, or patterns such as "stages.2.*".

    Raises:
        ValueError: a part is none of these or the model has none, an exception matches no
            parameter, or no parameter would be left to train.
    """
    members = _members(model)
    names = [name for name, _ in model.named_parameters(remove_duplicate=False)]
    for part in parts:
        models_layers.check_one_of("freeze", part, get_args(PARTS))
        if not members[part]:
            present = ", ".join(part for part in members if members[part])
            raise ValueError(f"freeze: {type(model).__name__} has no {part}; it has {present}")
    for pattern in exceptions:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise ValueError(
                f"freeze_exceptions: {pattern!r} matches no parameter; there are {', '.join(names)}"
            )
    frozen = {
        name
        for part in parts
        for name in members[part]
        if not any(fnmatchcase(name, pattern) for pattern in exceptions)
    }
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    if frozen and trained <= frozen:
        raise ValueError(
            f"freeze: {', '.join(parts)} leaves nothing to train; name freeze_exceptions among "
            f"{', '.join(names)}"
        )
    for name in frozen:
        model.get_parameter(name).requires_grad_(False)


def output_layer(model: nn.Module) -> str:
    """Name of the last linear layer of `model`, in the order in which its layers are defined.

    Returns:
        A name as in `model.named_modules()`: "output" for every model of this package.

    Raises:
        ValueError: the model has no linear layer.
    """
    linear = _linear_layers(model)
    if not linear:
        layers = ", ".join(sorted({type(module).__name__ for module in model.modules()}))
        raise ValueError(f"{type(model).__name__} has no linear layer; it has {layers}")
    return linear[-1]


def _linear_layers(model: nn.Module) -> list[str]:
    return [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]


def _members(model: nn.Module) -> dict[str, list[str]]:
    """Names of the parameters in each part; each parameter is in exactly one."""
    last = next(reversed(_linear_layers(model)), None)
    members: dict[str, list[str]] = {part: [] for part in get_args(PARTS)}
    for prefix, module in model.named_modules():
        if isinstance(module, NORMS):
            part = "batch_norm"
        else:
            part = "output" if prefix == last else "others"
        members[part] += [name for name, _ in module.named_parameters(prefix, recurse=False)]
    return members
