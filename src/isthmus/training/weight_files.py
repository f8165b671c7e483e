"""Loads weights from a file and checks them against a model, for every script."""

import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

import torch
from torch import Tensor, nn

from isthmus.models.structure import tied_names
from isthmus.state_dicts import StateDict
from isthmus.store import files

log = logging.getLogger(__name__)

PREFIXES = ("module.", "_orig_mod.")  # of DistributedDataParallel, of torch.compile
SHOWN = 10  # names in a message


def load(
    path: Path,
    model: nn.Module,
    allow_nonfinite: bool = False,
    report: Callable[[str], None] = log.info,
) -> dict[str, Tensor]:
    """Load the weights in a file as a state dict of `model`, on the CPU.

    Args:
        path: of the file.
        model: on any device; its own weights stay as they are.
        allow_nonfinite: see `fit`.
        report: see `fit`.

    Raises:
        FileNotFoundError: naming the weights that are there.
        ValueError: see `store.files.load_weights` and `fit`.
    """
    weights, _ = files.load_weights(path)
    ties = tied_names(model)
    return fit(weights, model.state_dict(), str(path), ties, allow_nonfinite, report=report)


def fit(
    weights: StateDict,
    expected: StateDict,
    file: str,
    ties: Mapping[str, str] = MappingProxyType({}),
    allow_nonfinite: bool = False,
    replaceable: Iterable[str] = (),
    report: Callable[[str], None] = log.info,
) -> dict[str, Tensor]:
    """Fit weights from a file to the names, shapes, types and order of a model's state dict.

    Adaptations are reported: prefixes of wrappers are removed from names, floating types are cast
    to those of the model. A tensor with several names in the model may have one of them in the
    file, and is one tensor in the result.

    Args:
        weights: as in the file.
        expected: a state dict of the model.
        file: as typed, for messages.
        ties: see `tied_names`.
        allow_nonfinite: whether weights may be infinite or not a number.
        replaceable: names of tensors that may have other shapes; those that do are left out.
        report: called with one line about each adaptation.

    Raises:
        ValueError: naming what is missing, unexpected, wrongly shaped, of another type or not
            finite, at most ten of each.
    """
    weights = _without_prefixes(weights, expected, file, report)
    weights = _with_ties(weights, ties, file)
    fitting = {name: weights[name] for name in expected if name in weights}
    misshapen = [n for n, tensor in fitting.items() if tensor.shape != expected[n].shape]
    replaced = set(misshapen) & set(replaceable)
    problems = {
        "missing": [name for name in expected if name not in weights],
        "unexpected": [name for name in weights if name not in expected],
        "of another shape": [
            f"{n} {list(fitting[n].shape)} instead of {list(expected[n].shape)}"
            for n in misshapen
            if n not in replaced
        ],
        "of another type": [
            f"{name} {_type(tensor)} instead of {_type(expected[name])}"
            for name, tensor in fitting.items()
            if tensor.is_floating_point() != expected[name].is_floating_point()
            or tensor.is_complex() != expected[name].is_complex()
        ],
    }
    if any(problems.values()):
        parts = [
            f"{len(names)} {kind}: {_first(names)}" for kind, names in problems.items() if names
        ]
        raise ValueError(
            f"{file}: does not fit the model, which has {len(expected)} tensors; {'; '.join(parts)}"
        )
    result = {name: weights[name] for name in expected if name not in replaced}
    result = _cast_types(expected, result, file, report)
    if not allow_nonfinite:
        check_finite(result, file)
    for name, first in ties.items():
        if name in result:
            result[name] = result[first]
    return result


def check_finite(weights: StateDict, file: str) -> None:
    """Refuse weights that are infinite or not a number.

    Raises:
        ValueError: naming the file and the tensors.
    """
    names = [
        f"{name} ({count} of {tensor.numel()})"
        for name, tensor in weights.items()
        if tensor.is_floating_point() and (count := int((~tensor.isfinite()).sum()))
    ]
    if names:
        raise ValueError(f"{file}: has weights that are not finite, in {_first(names)}")


def _without_prefixes(
    weights: StateDict, expected: StateDict, file: str, report: Callable[[str], None]
) -> StateDict:
    """Weights without the prefixes of wrappers that all names have."""
    names, stripped = list(weights), ""
    while names and names[0] not in expected:
        prefix = next((p for p in PREFIXES if all(name.startswith(p) for name in names)), None)
        if prefix is None:
            return weights  # the comparison with the model says what is wrong
        names, stripped = [name.removeprefix(prefix) for name in names], stripped + prefix
    if not stripped:
        return weights
    report(f"{file}: names are taken without their prefix {stripped}")
    return dict(zip(names, weights.values(), strict=True))


def _with_ties(weights: StateDict, ties: Mapping[str, str], file: str) -> StateDict:
    """Weights with all names of tensors that are tied in the model."""
    result, differing = dict(weights), []
    for name, first in ties.items():
        if name not in weights and first not in weights:
            continue
        tensor, other = weights.get(first), weights.get(name)
        if tensor is not None and other is not None and not torch.equal(tensor, other):
            differing.append(f"{first} and {name}")
        result[first] = result[name] = weights[first if tensor is not None else name]
    if differing:
        raise ValueError(
            f"{file}: does not fit the model, in which {_first(differing)} are one tensor; in the "
            f"file they differ"
        )
    return result


def _cast_types(
    expected: StateDict, weights: dict[str, Tensor], file: str, report: Callable[[str], None]
) -> dict[str, Tensor]:
    """Weights cast to the types of the model."""
    cast = [name for name, tensor in weights.items() if tensor.dtype != expected[name].dtype]
    floating = [name for name in cast if expected[name].is_floating_point()]
    if floating:
        types = sorted({_type(weights[name]) for name in floating})
        report(
            f"{file}: {len(floating)} of {len(weights)} tensors are {' and '.join(types)}, taken "
            f"as {_type(expected[floating[0]])}"
        )
    return weights | {name: weights[name].to(expected[name].dtype) for name in cast}


def _type(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _first(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
