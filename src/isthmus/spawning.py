"""Requests of `spawn.py` that cannot be met, whatever the data."""

from typing import Any

from isthmus import steps
from isthmus.annotations import shown

STREAMS = ("data_order", "augmentation", "dropout")


def errors(values: dict[str, Any]) -> list[str]:
    """What is wrong, one line each.

    Args:
        values: a configuration of `spawn.py` whose values are of the right types.
    """
    found = []
    for name in ("spawn_steps", "child_seeds", "child_steps", "num_children", "models"):
        if values[name] == []:
            found.append(f"{name}=[]: must hold at least one value")
    for name in ("spawn_steps", "child_seeds", "averages", "num_children", "models", "vary"):
        value = values[name]
        if isinstance(value, list) and len(set(map(str, value))) < len(value):
            found.append(f"{name}={shown(value)}: must not repeat a value")
    if any(seed < 0 for seed in values["child_seeds"]):  # "1-2" names two of them
        found.append(f"child_seeds={shown(values['child_seeds'])}: must not be negative")
    num_children = len(values["child_seeds"])
    if values["vary"] == [] and num_children > 1:
        found.append(
            f"vary=[]: nothing varies, all children would be one network; name one of "
            f"{', '.join(STREAMS)}"
        )
    for num in values["num_children"] or []:
        if not 2 <= num <= num_children:
            found.append(
                f"num_children={shown(values['num_children'])}: must be from 2 to the number of "
                f"child_seeds, {num_children}, got {num}"
            )
    if values["num_children"] is not None and "across" not in values["averages"]:
        found.append(f"num_children={shown(values['num_children'])}: needs averages=[across]")
    if values["models"] == ["averaged"] and "_target_" not in (values["averaged"] or {}):
        found.append("models=[averaged]: there are none with averaged=none")
    if values["only"] is not None and values["spawn_step"] is not None:
        found.append("only and spawn_step both choose one spawn step: give one of them")
    steps_given = values["spawn_steps"]
    if (steps_given, values["spawn_step"], values["split_merge"]["num_legs"]) == (None, None, None):
        found.append("spawn_steps: needs a value, spawn_steps=...")
    if values["only"] is not None and steps_given is None:
        found.append(f"only={values['only']}: chooses one of spawn_steps, which needs a value")
    if values["only"] is not None and isinstance(steps_given, list):
        if not 0 <= values["only"] < len(steps_given):
            found.append(f"only={values['only']}: must be from 0 to {len(steps_given) - 1}")
    if values["child_length"] is not None and steps.parse(values["child_length"]) == (0, 0):
        found.append(f"child_length={values['child_length']}: must be positive")
    return found + _errors_of_legs(values)


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
