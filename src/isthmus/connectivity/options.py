"""Options of `interpolate.py` and their rules. Imports no torch."""

import math
from dataclasses import dataclass, field
from typing import Any, Literal

from isthmus import steps
from isthmus.averaging.options import SavedOptions
from isthmus.steps import Step
from isthmus.training.options import MISSING, Family


def errors(values: dict[str, Any]) -> list[str]:
    """Validation errors of options whose values have the right types, one line each.

    Args:
        values: of `InterpolateBranches`, `InterpolateLine` or `InterpolatePlane`, as plain Python.
    """
    messages = _branches_errors(values) if "k1" in values else []
    messages, refine = messages + alphas_errors(values), values.get("refine")
    if refine is not None and refine < 1:
        messages.append(f"refine={refine}: must be positive")
    if "plane" in values:
        messages += _plane_errors(values)
    return messages


def alphas_errors(values: dict[str, Any]) -> list[str]:
    """Validation errors of `alphas`; none if it is not among the values."""
    alphas = values.get("alphas")
    if isinstance(alphas, int) and alphas < 2:
        return [f"alphas={alphas}: must be at least 2, both ends"]
    if isinstance(alphas, list) and not _is_grid(alphas):
        return [f"alphas={_list(alphas)}: must increase from 0 to 1, the two ends"]
    return []


def list_steps(steps_given: Any) -> list[steps.Step]:
    """A list of steps from one or several, where a whole number counts epochs.

    Args:
        steps_given: a step, a whole number, or a list of these.
    """
    several = steps_given if isinstance(steps_given, list) else [steps_given]
    return [f"{step}ep" if isinstance(step, int) else step for step in several]


def child_seeds(values: dict[str, Any]) -> list[int]:
    """The seeds of the children; by default one more than the global seed."""
    seeds = values["child_seeds"]
    return [values["global_seed"] + 1] if seeds is None else seeds


def _branches_errors(values: dict[str, Any]) -> list[str]:
    messages = []
    for name in ("k1", "k2", "child_seeds"):
        value = values[name]
        if value == []:
            messages.append(f"{name}=[]: must hold at least one value")
        if isinstance(value, list) and len(set(map(str, value))) < len(value):
            messages.append(f"{name}={_list(value)}: must not repeat a value")
    for name, value in (("k1", values["k1"]), ("k2", values["k2"])):
        for step in value if isinstance(value, list) else [value]:
            if isinstance(step, int) and step < 0:
                messages.append(f"{name}={step}: must not be negative")
            elif name == "k2" and steps.parse(list_steps(step)[0]) == (0, 0):
                messages.append(f"k2={step}: must be positive; at k1 all branches are one network")
    return messages + _seeds_errors(values)


def _seeds_errors(values: dict[str, Any]) -> list[str]:
    seeds, messages = child_seeds(values), []
    if any(seed < 0 for seed in seeds):
        messages.append(f"child_seeds={_list(seeds)}: must not be negative")
    varied = {name: values["seeds"][name] for name in values["vary"]}
    main = {values["global_seed"] if seed is None else seed for seed in varied.values()}
    for seed in seeds:
        if not varied or main == {seed}:
            messages.append(
                f"child_seeds={_list(seeds)}: with seed {seed} and vary={_list(list(varied))} the "
                "branch is the main one again"
            )
    return messages


def _plane_errors(values: dict[str, Any]) -> list[str]:
    messages, files = [], values["plane"]
    if len(files) != 3:
        messages.append(f"plane={_list(files)}: must be three files of weights, got {len(files)}")
    if values["points"] < 2:
        messages.append(f"points={values['points']}: must be at least 2, each way")
    if not values["margin"] >= 0:
        messages.append(f"margin={values['margin']}: must not be negative")
    if values["margin"] == math.inf:
        messages.append("margin=inf: must be finite")
    return messages


def _is_grid(alphas: list[float]) -> bool:
    rising = all(left < right for left, right in zip(alphas, alphas[1:], strict=False))
    return len(alphas) >= 2 and rising and alphas[0] == 0 and alphas[-1] == 1


def _list(values: list[Any]) -> str:
    return f"[{','.join(map(str, values))}]"


@dataclass
class LineOptions:
    """Which points of a line are evaluated, and how its networks are aligned and normalized."""

    alphas: int | list[float] = 25
    refine: int | None = None  # further alphas around the largest excess of the loss
    align: Literal["none", "weights", "activations"] = "none"
    bn: Literal["reset", "average", "keep", "repair"] = "reset"
    splits: list[Literal["train", "val", "test"]] = field(default_factory=lambda: ["train", "test"])


@dataclass
class InterpolateBranches(LineOptions, Family):
    """`interpolate.py` between a main branch and others that leave it after k1."""

    k1: Step | int | list[Step | int] = MISSING  # a whole number: epochs
    k2: Step | int | list[Step | int] = MISSING
    child_seeds: list[int] | None = None  # null: one more than the global seed


@dataclass
class InterpolateLine(LineOptions, SavedOptions):
    """`interpolate.py` between two saved networks."""

    start: str = MISSING
    end: str = MISSING


@dataclass
class InterpolatePlane(SavedOptions):
    """`interpolate.py` in the plane of three saved networks."""

    plane: list[str] = MISSING
    project: list[str] = field(default_factory=list)
    points: int = 21  # each way
    margin: float = 0.2  # of the extent of the three, on all four sides
    align: Literal["none", "weights", "activations"] = "none"
    bn: Literal["reset", "average", "keep"] = "reset"
    splits: list[Literal["train", "val", "test"]] = field(default_factory=lambda: ["train", "test"])


@dataclass
class Interpolate(InterpolateBranches):
    """All options of `interpolate.py`, in any of its modes."""

    start: str | None = None
    end: str | None = None
    plane: list[str] | None = None
    project: list[str] = field(default_factory=list)
    points: int = 21
    margin: float = 0.2
