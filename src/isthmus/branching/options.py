"""Options of `spawn.py` and their rules. Imports no torch."""

from dataclasses import dataclass, field
from typing import Any, Literal

from isthmus import steps
from isthmus.config.signatures import format_value
from isthmus.steps import Step
from isthmus.training.options import MISSING, Family

STREAMS = ("data_order", "augmentation", "dropout")


def errors(values: dict[str, Any]) -> list[str]:
    """Validation errors, one line each.

    Args:
        values: a configuration of `spawn.py` whose values are of the right types.
    """
    messages = []
    for name in ("spawn_steps", "child_seeds", "child_steps", "num_children", "models"):
        if values[name] == []:
            messages.append(f"{name}=[]: must hold at least one value")
    for name in ("spawn_steps", "child_seeds", "averages", "num_children", "models", "vary"):
        value = values[name]
        if isinstance(value, list) and len(set(map(str, value))) < len(value):
            messages.append(f"{name}={format_value(value)}: must not repeat a value")
    if any(seed < 0 for seed in values["child_seeds"]):  # "1-2" names two of them
        messages.append(f"child_seeds={format_value(values['child_seeds'])}: must not be negative")
    num_children = len(values["child_seeds"])
    if values["vary"] == [] and num_children > 1:
        messages.append(
            f"vary=[]: nothing varies, all children would be one network; name one of "
            f"{', '.join(STREAMS)}"
        )
    for num in values["num_children"] or []:
        if not 2 <= num <= num_children:
            messages.append(
                f"num_children={format_value(values['num_children'])}: must be from 2 to the "
                f"number of child_seeds, {num_children}, got {num}"
            )
    if values["num_children"] is not None and "across" not in values["averages"]:
        messages.append(
            f"num_children={format_value(values['num_children'])}: needs averages=[across]"
        )
    if values["models"] == ["averaged"] and "_target_" not in (values["averaged"] or {}):
        messages.append("models=[averaged]: there are none with averaged=none")
    if values["only"] is not None and values["spawn_step"] is not None:
        messages.append("only and spawn_step both choose one spawn step: give one of them")
    steps_given = values["spawn_steps"]
    if (steps_given, values["spawn_step"], values["split_merge"]["num_legs"]) == (None, None, None):
        messages.append("spawn_steps: needs a value, spawn_steps=...")
    if values["only"] is not None and steps_given is None:
        messages.append(f"only={values['only']}: chooses one of spawn_steps, which needs a value")
    if values["only"] is not None and isinstance(steps_given, list):
        if not 0 <= values["only"] < len(steps_given):
            messages.append(f"only={values['only']}: must be from 0 to {len(steps_given) - 1}")
    if values["child_length"] is not None and steps.parse(values["child_length"]) == (0, 0):
        messages.append(f"child_length={values['child_length']}: must be positive")
    return messages + _errors_of_legs(values)


def _errors_of_legs(values: dict[str, Any]) -> list[str]:
    num_legs, strategy = (values["split_merge"][key] for key in ("num_legs", "strategy"))
    if num_legs is None and strategy is not None:
        return [f"split_merge.strategy={strategy}: needs split_merge.num_legs"]
    if num_legs is None:
        return []
    if num_legs < 1:
        return [f"split_merge.num_legs={num_legs}: must be positive"]
    if values["hparams"]["patience"] is not None:
        return ["split_merge.num_legs: legs have to be of equal length, without hparams.patience"]
    return []


@dataclass
class SplitMerge:
    """Legs of parent, children and their average, which is the next leg's parent."""

    num_legs: int | None = None  # null: no legs
    strategy: (
        Literal[
            "restart_optimizer",
            "decrease_lr",
            "repeat_increase_batch_size",
            "decrease_child_batch_size",
        ]
        | None
    ) = None


@dataclass
class Spawn(Family):
    """Options of `spawn.py`."""

    spawn_steps: str | list[Step] | None = None
    spawn_step: Step | None = None  # only this one
    only: int | None = None  # only this one of `spawn_steps`, counted from 0
    child_seeds: list[int] = MISSING
    child_steps: str | list[Step] = "log"
    child_length: Step | None = None  # null: that of the parent
    averages: list[Literal["across", "back", "back_plus_one", "back_plus_three", "back_all"]] = (
        field(default_factory=lambda: ["across", "back"])
    )
    num_children: list[int] | None = None  # in an `across` average; null: 2 and more, up to all
    models: list[Literal["plain", "averaged"]] = field(
        default_factory=lambda: ["plain", "averaged"]
    )
    bn: Literal["reset", "average", "keep"] = "reset"
    splits: list[Literal["train", "val", "test"]] = field(default_factory=lambda: ["train", "test"])
    save_averages: bool = False
    split_merge: SplitMerge = field(default_factory=SplitMerge)
