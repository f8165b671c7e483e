"""What comes before a training, as values: those of the training itself, some of them replaced."""

from typing import Any

from isthmus import schemas, signatures
from isthmus.steps import Step

PARTS = ("dataset", "optimizer", "scheduler", "hparams")  # that a pretraining can have of its own


def is_on(values: dict[str, Any], section: str = "pretrain") -> bool:
    """Whether a section has values of a training.

    Args:
        values: a script's configuration as plain Python.
        section: "pretrain", a training before the main one; or another with the same parts.
    """
    own = values.get(section)
    return isinstance(own, dict) and any(own.get(part) for part in PARTS)


def merged(values: dict[str, Any], section: str = "pretrain") -> dict[str, Any]:
    """The configuration of the training of a section, a `Train` as plain Python.

    A part that names another target replaces that of the training; other values replace one each.
    A data set of its own is looked for where the training's is, if it does not say where.
    """
    result = {key: values[key] for key in schemas.fields("Train")}
    runtime = values["runtime"]
    result["runtime"] = {key: runtime[key] for key in schemas.fields("Runtime") if key in runtime}
    for part in PARTS:
        own = values[section].get(part)
        if not isinstance(own, dict):
            result[part] = own or values[part]
        elif part != "hparams" and "_target_" in own:
            result[part] = _rooted(own, values[part]) if part == "dataset" else own
        else:
            result[part] = values[part] | own
    hparams = values[section].get("hparams") or {}
    if "epochs" in hparams and "steps" not in hparams:  # those of the training would win
        result["hparams"]["steps"] = None
    return result


def length(values: dict[str, Any]) -> Step:
    """How long the training before the main one is, "0" if there is none."""
    if not is_on(values):
        return "0"
    hparams = merged(values)["hparams"]
    return hparams["steps"] or f"{hparams['epochs']}ep"


def errors(values: dict[str, Any]) -> list[str]:
    """What is wrong with the section `pretrain` itself, one line each."""
    own = values["pretrain"]
    given = [part for part in PARTS if own.get(part)]
    if own.get("weights") is not None and given:
        names = ", ".join(f"pretrain.{part}" for part in given)
        return [f"pretrain.weights={own['weights']}: takes the place of a training, so not {names}"]
    return []


def _rooted(own: dict[str, Any], main: dict[str, Any]) -> dict[str, Any]:
    try:
        takes = signatures.arguments(own["_target_"])
    except (LookupError, ImportError):  # the check will say so
        return own
    shared = {
        key: main[key]
        for key in schemas.UNNAMED_IN_PARTS["dataset"]
        if key in main and key in takes and own.get(key) is None
    }
    return own | shared
