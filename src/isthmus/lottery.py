"""Requests of `prune.py` that cannot be met, whatever the data."""

from typing import Any

from isthmus import interpolation, pretraining, schemas, signatures, steps
from isthmus.annotations import shown

REWINDS = ("weights", "lr", "none")
BRANCHES = ("randomly_prune", "randomly_reinitialize", "retrain", "instability")


def rewind(values: dict[str, Any]) -> str:
    """What becomes of the weights that are left: as typed, or as the strategy says.

    Args:
        values: of `prune.py`, as plain Python.
    """
    return values["rewind"] or rewind_of_strategy(values)


def rewind_of_strategy(values: dict[str, Any]) -> Any:
    """What a strategy does to the weights that are left: its class's `rewind`, or "weights"."""
    value = signatures.attribute(str(values["pruning"].get("_target_")), "rewind")
    return "weights" if value is signatures.REQUIRED else value


def check_rewind(values: dict[str, Any], made: Any) -> None:
    """Refuse a strategy whose object says another rewinding than its class was read to say.

    Args:
        values: of `prune.py`, as plain Python.
        made: the strategy.

    Raises:
        ValueError: naming both.
    """
    own, read = getattr(made, "rewind", "weights"), rewind_of_strategy(values)
    if values["rewind"] is None and own != read:
        raise ValueError(
            f"pruning._target_={values['pruning']['_target_']}: its rewind is {own}, which must "
            f"stand in the body of its class, as text; or rewind={own}"
        )


def strategy(values: dict[str, Any]) -> dict[str, Any]:
    """The strategy as a part: pruning once, it prunes as much as `one_shot` says."""
    one_shot = values["one_shot"]
    return values["pruning"] | ({} if one_shot is None else {"fraction": one_shot})


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
    if one_shot is not None:
        found += _errors_of_one_shot(one_shot, values)
    found += _errors_of_rewinding(values)
    return found + ([] if found else _errors_of_branches(values))


def _errors_of_one_shot(one_shot: float, values: dict[str, Any]) -> list[str]:
    levels, pruning, errors = values["levels"], values["pruning"], []
    fraction = signatures.arguments(pruning["_target_"]).get("fraction")
    if not 0 < one_shot < 1:
        errors.append(f"one_shot={one_shot}: must be in (0, 1), the share that is pruned")
    if levels not in (None, 1):
        errors.append(f"one_shot={one_shot}: prunes once, so not levels={levels}")
    if fraction is None:
        errors.append(f"one_shot={one_shot}: {pruning['_target_']} takes no fraction to prune")
    elif fraction.default not in (signatures.REQUIRED, pruning.get("fraction", fraction.default)):
        errors.append(
            f"pruning.fraction={pruning['fraction']}: one_shot={one_shot} says how much is pruned"
        )
    return errors


def _errors_of_rewinding(values: dict[str, Any]) -> list[str]:
    typed, of_strategy, errors = values["rewind"], rewind_of_strategy(values), []
    target, retrain_lr = values["pruning"]["_target_"], values["retrain_lr"]
    name = target.rpartition(".")[2]
    if of_strategy not in REWINDS:
        kinds = ", ".join(REWINDS)
        value = "no literal" if of_strategy is signatures.UNKNOWN else of_strategy
        return [f"pruning._target_={target}: {name}.rewind must be one of {kinds}, got {value}"]
    if of_strategy == "none" and typed not in (None, "none"):
        errors.append(
            f"rewind={typed}: pruning._target_={target} leaves weights where they are "
            f"({name}.rewind is none); pruning=sparse_global rewinds"
        )
    elif rewind(values) == "none" and steps.parse(values["rewind_step"]) != (0, 0):
        errors.append(f"rewind_step={values['rewind_step']}: nothing is rewound with rewind=none")
    if retrain_lr is not None and rewind(values) != "none":
        errors.append(
            f"retrain_lr={retrain_lr}: needs rewind=none; with rewind={rewind(values)} levels "
            "have the learning rates that level 0 had"
        )
    if retrain_lr is not None and not retrain_lr > 0:
        errors.append(f"retrain_lr={retrain_lr}: must be positive")
    return errors


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
    drawn = values["randomly_prune"]
    if branch == "randomly_prune" and drawn["strategy"] == "identity" and drawn["seed"] != 1:
        found.append(
            f"randomly_prune.seed={drawn['seed']}: nothing is drawn with "
            "randomly_prune.strategy=identity"
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
