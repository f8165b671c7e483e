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
    """How the weights that are left are rewound: as typed, or as the strategy says.

    Args:
        values: of `prune.py`, as plain Python.
    """
    return values["rewind"] or strategy_rewind(values)


def strategy_rewind(values: dict[str, Any]) -> Any:
    """What a strategy does to the weights that are left: its class's `rewind`, or "weights"."""
    value = signatures.attribute(str(values["pruning"].get("_target_")), "rewind")
    return "weights" if value is signatures.REQUIRED else value


def check_rewind(values: dict[str, Any], strategy: Any) -> None:
    """Refuse a strategy whose object has another `rewind` than was read from its class.

    Args:
        values: of `prune.py`, as plain Python.
        strategy: built from them.

    Raises:
        ValueError: naming both.
    """
    actual, read = getattr(strategy, "rewind", "weights"), strategy_rewind(values)
    if values["rewind"] is None and actual != read:
        raise ValueError(
            f"pruning._target_={values['pruning']['_target_']}: its rewind is {actual}, which must "
            f"stand in the body of its class, as text; or rewind={actual}"
        )


def strategy_part(values: dict[str, Any]) -> dict[str, Any]:
    """The strategy's part of the configuration; with `one_shot` as its fraction, if it is set."""
    one_shot = values["one_shot"]
    return values["pruning"] | ({} if one_shot is None else {"fraction": one_shot})


def num_levels(values: dict[str, Any]) -> int:
    """The last requested level."""
    return 1 if values["one_shot"] is not None else values["levels"]


def branch_levels(values: dict[str, Any]) -> list[int] | None:
    """The requested levels of the branch; None: all but the dense one."""
    if values["branch"] == "instability" and values["branch_levels"] is None:
        return list(range(num_levels(values) + 1))
    return values["branch_levels"]


def errors(values: dict[str, Any]) -> list[str]:
    """Validation errors, one line each.

    Args:
        values: a configuration of `prune.py` whose values are of the right types.
    """
    levels, one_shot, messages = values["levels"], values["one_shot"], []
    if levels is None and one_shot is None:
        messages.append("levels: needs a value, levels=...")
    elif levels is not None and levels < 0:
        messages.append(f"levels={levels}: must not be negative")
    if one_shot is not None:
        messages += _errors_of_one_shot(one_shot, values)
    messages += _errors_of_rewinding(values)
    return messages + ([] if messages else _errors_of_branches(values))


def _errors_of_one_shot(one_shot: float, values: dict[str, Any]) -> list[str]:
    levels, pruning, messages = values["levels"], values["pruning"], []
    fraction = signatures.arguments(pruning["_target_"]).get("fraction")
    if not 0 < one_shot < 1:
        messages.append(f"one_shot={one_shot}: must be in (0, 1), the share that is pruned")
    if levels not in (None, 1):
        messages.append(f"one_shot={one_shot}: prunes once, so not levels={levels}")
    if fraction is None:
        messages.append(f"one_shot={one_shot}: {pruning['_target_']} takes no fraction to prune")
    elif fraction.default not in (signatures.REQUIRED, pruning.get("fraction", fraction.default)):
        messages.append(
            f"pruning.fraction={pruning['fraction']}: one_shot={one_shot} says how much is pruned"
        )
    return messages


def _errors_of_rewinding(values: dict[str, Any]) -> list[str]:
    typed, default, messages = values["rewind"], strategy_rewind(values), []
    target, retrain_lr = values["pruning"]["_target_"], values["retrain_lr"]
    name = target.rpartition(".")[2]
    if default not in REWINDS:
        kinds = ", ".join(REWINDS)
        value = "no literal" if default is signatures.UNKNOWN else default
        return [f"pruning._target_={target}: {name}.rewind must be one of {kinds}, got {value}"]
    if default == "none" and typed not in (None, "none"):
        messages.append(
            f"rewind={typed}: pruning._target_={target} leaves weights where they are "
            f"({name}.rewind is none); pruning=sparse_global rewinds"
        )
    elif resolve_rewind(values) == "none" and steps.parse(values["rewind_step"]) != (0, 0):
        messages.append(f"rewind_step={values['rewind_step']}: nothing is rewound with rewind=none")
    if retrain_lr is not None and resolve_rewind(values) != "none":
        messages.append(
            f"retrain_lr={retrain_lr}: needs rewind=none; with rewind={resolve_rewind(values)} "
            "levels have the learning rates that level 0 had"
        )
    if retrain_lr is not None and not retrain_lr > 0:
        messages.append(f"retrain_lr={retrain_lr}: must be positive")
    return messages


def _errors_of_branches(values: dict[str, Any]) -> list[str]:
    branch, levels, last, messages = (
        values["branch"],
        values["branch_levels"],
        num_levels(values),
        [],
    )
    if levels is not None and branch is None:
        messages.append(f"branch_levels={format_value(levels)}: needs branch=...")
    if levels is not None and (not levels or len(set(levels)) < len(levels)):
        messages.append(
            f"branch_levels={format_value(levels)}: must name each level once, and at least one"
        )
    for level in levels or []:
        if not 0 <= level <= last:
            messages.append(
                f"branch_levels={format_value(levels)}: must be from 0 to {last}, got {level}"
            )
    if branch == "retrain" and not validation.has_training(values, "retrain"):
        messages.append(
            "branch=retrain: needs other data or hyperparameters, retrain.hparams.epochs=..."
        )
    drawn = values["randomly_prune"]
    if branch == "randomly_prune" and drawn["strategy"] == "identity" and drawn["seed"] != 1:
        messages.append(
            f"randomly_prune.seed={drawn['seed']}: nothing is drawn with "
            "randomly_prune.strategy=identity"
        )
    for name in BRANCHES:
        defaults = schema.fields(_class_of(name))
        changed = [
            key for key, value in values[name].items() if not _is_default(value, defaults[key])
        ]
        if branch != name and changed:
            messages.append(f"{name}.{changed[0]}: needs branch={name}")
    return messages + (_errors_of_instability(values["instability"]) if not messages else [])


def _errors_of_instability(values: dict[str, Any]) -> list[str]:
    seeds, messages = values["seeds"], []
    for name in ("seeds", "vary", "splits"):
        if len(set(values[name])) < len(values[name]):
            messages.append(
                f"instability.{name}={format_value(values[name])}: must not repeat a value"
            )
    if len(seeds) < 2:
        messages.append(
            f"instability.seeds={format_value(seeds)}: must hold at least two, to compare them"
        )
    if any(seed < 0 for seed in seeds):  # "1-2" names two of them
        messages.append(f"instability.seeds={format_value(seeds)}: must not be negative")
    for name in ("vary", "splits"):
        if not values[name]:
            messages.append(f"instability.{name}=[]: must hold at least one value")
    return messages + [f"instability.{error}" for error in options.alphas_errors(values)]


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
    """A branch of a level that is trained with other data or hyperparameters."""

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
    """Options of `prune.py`."""

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
