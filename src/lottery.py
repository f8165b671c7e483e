"""Requests of `prune.py` that cannot be met, whatever the data."""

from typing import Any

from src import interpolation, pretraining, schemas, signatures, steps
from src.annotations import shown

BRANCHES = ("randomly_prune", "randomly_reinitialize", "retrain", "instability")


def rewind(values: dict[str, Any]) -> str:
    """What becomes of the weights that are left: as asked for, or as the strategy does.

    Args:
        values: of `prune.py`, as plain Python.
    """
    return values["rewind"] or ("none" if _is_han(values) else "weights")


def num_levels(values: dict[str, Any]) -> int:
    """The last level that is asked for."""
    return 1 if values["one_shot"] is not None else values["levels"]


def branch_levels(values: dict[str, Any]) -> list[int] | None:
    """Levels that the branch is made of, as asked for; None: all but the dense one."""
    if values["branch"] == "instability" and values["branch_levels"] is None:
        return list(range(num_levels(values) + 1))
    return values["branch_levels"]


def errors(values: dict[str, Any]) -> list[str]:
    """What is wrong, one line each.

    Args:
        values: a configuration of `prune.py` whose values are of the right types.
    """
    levels, one_shot, found = values["levels"], values["one_shot"], []
    if levels is None and one_shot is None:
        found.append("levels: needs a value, levels=...")
    elif levels is not None and levels < 0:
        found.append(f"levels={levels}: must not be negative")
    if one_shot is not None and not 0 < one_shot < 1:
        found.append(f"one_shot={one_shot}: must be in (0, 1), the sparsity of the only level")
    if one_shot is not None and levels not in (None, 1):
        found.append(f"one_shot={one_shot}: prunes once, so not levels={levels}")
    if _is_han(values) and values["rewind"] not in (None, "none"):
        found.append(
            f"rewind={values['rewind']}: pruning=han leaves weights where they are; "
            "pruning=sparse_global prunes the same ones and rewinds"
        )
    later = steps.parse(values["rewind_step"]) != (0, 0)
    if later and rewind(values) == "none":
        found.append(f"rewind_step={values['rewind_step']}: nothing is rewound with rewind=none")
    return found + ([] if found else _errors_of_branches(values))


def _errors_of_branches(values: dict[str, Any]) -> list[str]:
    branch, levels, last, found = values["branch"], values["branch_levels"], num_levels(values), []
    if levels is not None and branch is None:
        found.append(f"branch_levels={shown(levels)}: needs branch=...")
    if levels is not None and (not levels or len(set(levels)) < len(levels)):
        found.append(f"branch_levels={shown(levels)}: must name each level once, and at least one")
    for level in levels or []:
        if not 0 <= level <= last:
            found.append(f"branch_levels={shown(levels)}: must be from 0 to {last}, got {level}")
    if branch == "retrain" and not pretraining.is_on(values, "retrain"):
        found.append(
            "branch=retrain: needs other data or hyperparameters, retrain.hparams.epochs=..."
        )
    for name in BRANCHES:
        defaults = schemas.fields(_class_of(name))
        given = [
            key for key, value in values[name].items() if not _is_default(value, defaults[key])
        ]
        if branch != name and given:
            found.append(f"{name}.{given[0]}: needs branch={name}")
    return found + (_errors_of_instability(values["instability"]) if not found else [])


def _errors_of_instability(own: dict[str, Any]) -> list[str]:
    seeds, found = own["seeds"], []
    for name in ("seeds", "vary", "splits"):
        if len(set(own[name])) < len(own[name]):
            found.append(f"instability.{name}={shown(own[name])}: must not repeat a value")
    if len(seeds) < 2:
        found.append(f"instability.seeds={shown(seeds)}: must hold at least two, to compare them")
    if any(seed < 0 for seed in seeds):  # "1-2" names two of them
        found.append(f"instability.seeds={shown(seeds)}: must not be negative")
    for name in ("vary", "splits"):
        if not own[name]:
            found.append(f"instability.{name}=[]: must hold at least one value")
    return found + [f"instability.{error}" for error in interpolation.errors_of_alphas(own)]


def _is_default(value: Any, argument: signatures.Argument) -> bool:
    return value == argument.default or (argument.default is None and not value)


def _class_of(section: str) -> str:
    return "".join(word.capitalize() for word in section.split("_"))


def _is_han(values: dict[str, Any]) -> bool:
    return str(values["pruning"].get("_target_")).endswith(".Han")
