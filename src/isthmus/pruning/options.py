"""Options of `prune.py` and their rules. Imports no torch."""

from dataclasses import dataclass, field
from typing import Any, Literal

from isthmus import steps
from isthmus.config import schema, signatures, validation
from isthmus.config.signatures import format_value
from isthmus.connectivity import options
from isthmus.steps import Step
from isthmus.training.options import MISSING, Pretrain, Train

REWINDS = ("weights", "lr", "none")
BRANCHES = ("randomly_prune", "randomly_reinitialize", "retrain", "instability")


def resolve_rewind(values: dict[str, Any]) -> str:
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


def strategy_part(values: dict[str, Any]) -> dict[str, Any]:
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
    elif resolve_rewind(values) == "none" and steps.parse(values["rewind_step"]) != (0, 0):
        errors.append(f"rewind_step={values['rewind_step']}: nothing is rewound with rewind=none")
    if retrain_lr is not None and resolve_rewind(values) != "none":
        errors.append(
            f"retrain_lr={retrain_lr}: needs rewind=none; with rewind={resolve_rewind(values)} "
            "levels have the learning rates that level 0 had"
        )
    if retrain_lr is not None and not retrain_lr > 0:
        errors.append(f"retrain_lr={retrain_lr}: must be positive")
    return errors


def _errors_of_branches(values: dict[str, Any]) -> list[str]:
    branch, levels, last, found = values["branch"], values["branch_levels"], num_levels(values), []
    if levels is not None and branch is None:
        found.append(f"branch_levels={format_value(levels)}: needs branch=...")
    if levels is not None and (not levels or len(set(levels)) < len(levels)):
        found.append(
            f"branch_levels={format_value(levels)}: must name each level once, and at least one"
        )
    for level in levels or []:
        if not 0 <= level <= last:
            found.append(
                f"branch_levels={format_value(levels)}: must be from 0 to {last}, got {level}"
            )
    if branch == "retrain" and not validation.has_training(values, "retrain"):
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
        defaults = schema.fields(_class_of(name))
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
            found.append(f"instability.{name}={format_value(own[name])}: must not repeat a value")
    if len(seeds) < 2:
        found.append(
            f"instability.seeds={format_value(seeds)}: must hold at least two, to compare them"
        )
    if any(seed < 0 for seed in seeds):  # "1-2" names two of them
        found.append(f"instability.seeds={format_value(seeds)}: must not be negative")
    for name in ("vary", "splits"):
        if not own[name]:
            found.append(f"instability.{name}=[]: must hold at least one value")
    return found + [f"instability.{error}" for error in options.alphas_errors(own)]


def _is_default(value: Any, argument: signatures.Argument) -> bool:
    return value == argument.default or (argument.default is None and not value)


def _class_of(section: str) -> str:
    return "".join(word.capitalize() for word in section.split("_"))


@dataclass
class RandomlyPrune:
    """A branch of a level that keeps as many weights in other places."""

    strategy: Literal["layerwise", "global", "even", "identity"] = "layerwise"
    start_at: Literal["rewind", "init", "end"] = "rewind"
    seed: int = 1


@dataclass
class RandomlyReinitialize:
    """A branch of a level that has its mask and a fresh initialization."""

    start_at: Literal["rewind", "init"] = "rewind"
    seed: int = 1


@dataclass
class Retrain:
    """A branch of a level that is trained with other values than the level itself."""

    start_at: Literal["rewind", "init"] = "rewind"
    dataset: Any = None
    optimizer: Any = None
    scheduler: Any = None
    hparams: Any = None


@dataclass
class Instability:
    """A branch of a level: its children of several seeds, and the barriers between them."""

    seeds: list[int] = field(default_factory=lambda: [1, 2])
    vary: list[Literal["data_order", "augmentation", "dropout"]] = field(
        default_factory=lambda: ["data_order", "augmentation", "dropout"]
    )
    alphas: int | list[float] = 25
    bn: Literal["reset", "average", "keep", "repair"] = "reset"
    splits: list[Literal["train", "val", "test"]] = field(default_factory=lambda: ["train", "test"])


@dataclass
class Prune(Train):
    """`prune.py`."""

    pruning: Any = MISSING
    pretrain: Pretrain = field(default_factory=Pretrain)
    levels: int | None = None
    one_shot: float | None = None  # share that the only level prunes, in place of `fraction`
    rewind: Literal["weights", "lr", "none"] | None = None  # null: as the strategy does
    rewind_step: Step = 0  # type: ignore[assignment] # where level 0 begins
    retrain_lr: float | None = None  # of levels that do not rewind; null: the last one of level 0
    branch: Literal["randomly_prune", "randomly_reinitialize", "retrain", "instability"] | None = (
        None
    )
    branch_levels: list[int] | None = None  # null: all, but the dense one only with instability
    randomly_prune: RandomlyPrune = field(default_factory=RandomlyPrune)
    randomly_reinitialize: RandomlyReinitialize = field(default_factory=RandomlyReinitialize)
    retrain: Retrain = field(default_factory=Retrain)
    instability: Instability = field(default_factory=Instability)
    compare: list[str] = field(default_factory=list)  # folders of other studies, or globs
