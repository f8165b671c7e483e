"""Every value of a script's configuration held against the signatures that will take it."""

import dataclasses
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from isthmus import (
    annotations,
    extracting,
    interpolation,
    lottery,
    plotting,
    pretraining,
    schemas,
    signatures,
    spawning,
    steps,
    tuned,
)
from isthmus.annotations import shown
from isthmus.signatures import REQUIRED, Argument

POSITIVE = (
    "hparams.epochs",
    "hparams.batch_size",
    "hparams.grad_clip_max_norm",
    "hparams.patience",
    "runtime.num_threads",
    "runtime.num_jobs",
    "diagnostics.examples",
)


def fields(schema: str) -> dict[str, Argument]:
    """The values that a schema has, by name."""
    return schemas.fields(schema)


def section(argument: Argument) -> dict[str, Argument] | None:
    """The fields of a value that is itself a schema, such as `hparams`; None for another value."""
    nested = dataclasses.is_dataclass(getattr(schemas, argument.annotation, None))
    return fields(argument.annotation) if nested else None


def common(group: str) -> dict[str, Argument]:
    """What every option of a group takes besides the arguments of its own target."""
    return fields("ModelOptions") if group == "model" else {}


@contextmanager
def named(group: str) -> Iterator[None]:
    """Lead the error of a part by the group that its option is typed in.

    The error is worded "option: what is wrong", or "option=value: what is wrong".

    Raises:
        ValueError: in place of a ValueError so worded.
    """
    try:
        yield
    except ValueError as error:
        if re.match(r"[a-z_]+(=[^ ]*)?: ", str(error)):
            raise ValueError(f"{group}.{error}") from error
        raise


def misfits(values: dict[str, Any], schema: str) -> list[str]:
    """What is wrong with a configuration, one line each; none if it can run.

    Args:
        values: the configuration as plain Python, interpolations resolved, "???" where a value
            is missing.
        schema: name of the script's schema, such as "Train".
    """
    errors = []
    for key, argument in fields(schema).items():
        value, nested = values.get(key, "???"), section(argument)
        if key in schemas.SUPPLIED:
            errors += misfits_of_part(key, value, optional=argument.default is None)
        elif nested is not None:
            errors += _misfits_of_section(key, value, nested)
        else:
            errors += _misfit(key, value, argument)
    if schema.startswith("Interpolate"):
        errors = errors or interpolation.errors(values)
    return errors or _out_of_range(values) or _misfits_of_trainings(values)


def misfits_of_part(group: str, node: Any, optional: bool) -> list[str]:
    """What is wrong with one part: a `_target_` and its arguments; off is right if `optional`."""
    off = node is None or (isinstance(node, dict) and "_target_" not in node)
    if off and optional:
        return []
    if off or not isinstance(node, dict):
        return [f"{group}={shown(node)}: must be an option of the group, see conf/{group}"]
    try:
        arguments = list(signatures.arguments(str(node["_target_"])).items())
    except (LookupError, ImportError) as error:
        return [f"{group}._target_: {error}"]
    known = dict(arguments[schemas.SUPPLIED[group] :]) | common(group)
    given = {key: value for key, value in node.items() if key not in ("_target_", "_partial_")}
    missing = [
        f"{group}.{name}: needs a value, {group}.{name}=..."
        for name, argument in known.items()
        if argument.default is REQUIRED and name not in given
    ]
    return missing + _misfits_of_keys(group, given, known)


def _misfits_of_section(name: str, values: Any, known: dict[str, Argument]) -> list[str]:
    if not isinstance(values, dict):
        return [f"{name}={shown(values)}: must have {', '.join(known)}"]
    return _misfits_of_keys(name, dict.fromkeys(known, "???") | values, known)


def _misfits_of_trainings(values: dict[str, Any]) -> list[str]:
    """What is wrong with trainings that take some values of their own and the others from here."""
    errors = pretraining.errors(values) if "pretrain" in values else []
    for section in ("pretrain", "retrain"):
        if not errors and pretraining.is_on(values, section):
            of_it = misfits(pretraining.merged(values, section), "Train")
            errors += [f"{section}.{error}" for error in of_it]
    return errors


def _misfits_of_keys(group: str, given: dict, known: dict[str, Argument]) -> list[str]:
    errors = []
    for key, value in given.items():
        if key in known:
            errors += _misfit(f"{group}.{key}", value, known[key])
        else:
            options = ", ".join(sorted(known))
            errors.append(f"{group}.{key}={shown(value)}: no such option; {group} takes {options}")
    return errors


def _misfit(name: str, value: Any, argument: Argument) -> list[str]:
    if value == "???":
        return [f"{name}: needs a value, {name}=..."]
    if annotations.fits(value, argument.annotation):
        return []
    return [f"{name}={shown(value)}: must be {annotations.describe(argument.annotation)}"]


def _out_of_range(values: dict[str, Any]) -> list[str]:
    """Scalars of the schemas whose type is right and whose value is not."""
    errors = []
    for name in POSITIVE:
        value = _select(values, name)
        if value is not None and not value > 0:
            errors.append(f"{name}={value}: must be positive")
    for name in ("runtime.num_workers", "runtime.save_every"):
        if not (_select(values, name) or 0) >= 0:
            errors.append(f"{name}={_select(values, name)}: must not be negative")
    for name in (
        "snapshots",
        "spawn_steps",
        "child_steps",
        "diagnostics.steps",
        "diagnostics.ranks",
    ):
        request = _select(values, name) if "." in name else values.get(name)
        if isinstance(request, str):  # the steps of a list were held against their annotation
            try:
                steps.to_iterations(request, 1, end=0)
            except ValueError as error:
                errors.append(f"{name}={request}: {error}")
    if values.get("splits") == []:
        needed = {"spawn_steps", "align"} & values.keys()  # of scripts whose default is not all
        all_of_them = "" if needed else ", or be null for all"
        errors.append(f"splits=[]: must name one of train, val, test{all_of_them}")
    length = _select(values, "hparams.steps")
    if length is not None and steps.parse(length) == (0, 0):
        errors.append(f"hparams.steps={length}: must be positive")
    errors += _misfits_of_weights(values)
    errors += lottery.errors(values) if "one_shot" in values else []
    errors += extracting.errors(values) if "extraction" in values else []
    errors += plotting.errors(values) if "figure" in values else []
    errors += tuned.errors(values) if "maximize_averaged" in values else []
    return errors + (spawning.errors(values) if "spawn_steps" in values else [])


def _misfits_of_weights(values: dict[str, Any]) -> list[str]:
    """Values that say different things about weights, at their beginning or in files."""
    errors, init = [], _select(values, "model.init")
    is_on = "_target_" in (values.get("parametrization") or {})
    if is_on and init not in (None, "kaiming_normal"):
        errors.append(
            f"model.init={init}: a parametrization says how weights begin; leave it out, or "
            "model.init=kaiming_normal where the model has one of its own"
        )
    if values.get("save_weights") is False and values["snapshots"] is not None:
        errors.append(f"snapshots={shown(values['snapshots'])}: needs save_weights=true")
    return errors


def _select(values: dict[str, Any], name: str) -> Any:
    group, _, key = name.partition(".")
    return values.get(group, {}).get(key)
