"""Validation of options: types by signature, ranges, and rules across options."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from isthmus import steps
from isthmus.config import schema as config_schema
from isthmus.config import signatures
from isthmus.config.signatures import REQUIRED, Argument, format_value
from isthmus.steps import Step

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
    """The fields of a schema, by name."""
    return config_schema.fields(schema)


def nested_fields(argument: Argument) -> dict[str, Argument] | None:
    """The fields of a value that is itself a schema, such as `hparams`; None for another value."""
    is_schema = argument.annotation.isidentifier() and config_schema.dotpath(argument.annotation)
    return fields(argument.annotation) if is_schema else None


def common_fields(group: str) -> dict[str, Argument]:
    """Fields that every option of a group has besides the arguments of its target."""
    return fields("ModelOptions") if group == "model" else {}


@contextmanager
def prefix_errors(group: str) -> Iterator[None]:
    """Put the group of an option before the error of a part.

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


def validation_errors(values: dict[str, Any], schema: str) -> list[str]:
    """Errors of a configuration, one line each; empty if it can run.

    Args:
        values: the configuration as plain Python, interpolations resolved, "???" where a value
            is missing.
        schema: name of the script's schema, such as "Train".
    """
    errors = []
    for key, argument in fields(schema).items():
        value, nested = values.get(key, "???"), nested_fields(argument)
        if key in config_schema.SUPPLIED:
            errors += part_errors(key, value, optional=argument.default is None)
        elif nested is not None:
            errors += _section_errors(key, value, nested)
        else:
            errors += _value_error(key, value, argument)
    return (
        errors or _range_errors(values) + _rule_errors(values, schema) or _training_errors(values)
    )


def part_errors(group: str, node: Any, optional: bool) -> list[str]:
    """Errors of one part, a `_target_` and its arguments; it may be off if `optional`."""
    is_off = node is None or (isinstance(node, dict) and "_target_" not in node)
    if is_off and optional:
        return []
    if is_off or not isinstance(node, dict):
        return [f"{group}={format_value(node)}: must be an option of the group, see conf/{group}"]
    try:
        arguments = list(signatures.arguments(str(node["_target_"])).items())
    except (LookupError, ImportError) as error:
        return [f"{group}._target_: {error}"]
    known = dict(arguments[config_schema.SUPPLIED[group] :]) | common_fields(group)
    values = {key: value for key, value in node.items() if key not in ("_target_", "_partial_")}
    missing = [
        f"{group}.{name}: needs a value, {group}.{name}=..."
        for name, argument in known.items()
        if argument.default is REQUIRED and name not in values
    ]
    return missing + _key_errors(group, values, known)


def _section_errors(name: str, values: Any, known: dict[str, Argument]) -> list[str]:
    if not isinstance(values, dict):
        return [f"{name}={format_value(values)}: must have {', '.join(known)}"]
    return _key_errors(name, dict.fromkeys(known, "???") | values, known)


def _training_errors(values: dict[str, Any]) -> list[str]:
    """Errors of sections that are trainings with some options of their own."""
    errors = pretraining_errors(values) if "pretrain" in values else []
    for section in ("pretrain", "retrain"):
        if not errors and has_training(values, section):
            section_errors = validation_errors(merge_section(values, section), "Train")
            errors += [f"{section}.{error}" for error in section_errors]
    return errors


def _key_errors(group: str, values: dict, known: dict[str, Argument]) -> list[str]:
    errors = []
    for key, value in values.items():
        if key in known:
            errors += _value_error(f"{group}.{key}", value, known[key])
        else:
            options = ", ".join(sorted(known))
            errors.append(
                f"{group}.{key}={format_value(value)}: no such option; {group} takes {options}"
            )
    return errors


def _value_error(name: str, value: Any, argument: Argument) -> list[str]:
    if value == "???":
        return [f"{name}: needs a value, {name}=..."]
    if signatures.fits_annotation(value, argument.annotation):
        return []
    kind = signatures.describe_annotation(argument.annotation)
    return [f"{name}={format_value(value)}: must be {kind}"]


def _range_errors(values: dict[str, Any]) -> list[str]:
    """Errors of scalars whose type is right and whose value is out of range."""
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
        if isinstance(request, str):  # the steps of a list were checked by their annotation
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
    return errors + _weight_errors(values)


def _rule_errors(values: dict[str, Any], schema: str) -> list[str]:
    """Errors across the options of a study, by the function in its `options` module."""
    rules = config_schema.RULES.get(schema)
    return signatures.locate(rules)(values) if rules else []


def _weight_errors(values: dict[str, Any]) -> list[str]:
    """Errors of options that contradict each other about initial or saved weights."""
    errors, init = [], _select(values, "model.init")
    is_on = "_target_" in (values.get("parametrization") or {})
    if is_on and init not in (None, "kaiming_normal"):
        errors.append(
            f"model.init={init}: a parametrization says how weights begin; leave it out, or "
            "model.init=kaiming_normal where the model has one of its own"
        )
    if values.get("save_weights") is False and values["snapshots"] is not None:
        errors.append(f"snapshots={format_value(values['snapshots'])}: needs save_weights=true")
    return errors


def _select(values: dict[str, Any], name: str) -> Any:
    group, _, key = name.partition(".")
    return values.get(group, {}).get(key)


TRAINING_PARTS = (
    "dataset",
    "optimizer",
    "scheduler",
    "hparams",
)  # that a pretraining can have of its own


def has_training(values: dict[str, Any], section: str = "pretrain") -> bool:
    """Whether a section has options of a training.

    Args:
        values: a script's configuration as plain Python.
        section: "pretrain", a training before the main one; or another with the same parts.
    """
    options = values.get(section)
    return isinstance(options, dict) and any(options.get(part) for part in TRAINING_PARTS)


def merge_section(values: dict[str, Any], section: str = "pretrain") -> dict[str, Any]:
    """The configuration of the training of a section, a `Train` as plain Python.

    A part with another target replaces that of the main training; other values replace one each.
    A data set of its own has the root of the main one, unless the section says otherwise.
    """
    result = {key: values[key] for key in config_schema.fields("Train")}
    runtime = values["runtime"]
    result["runtime"] = {
        key: runtime[key] for key in config_schema.fields("Runtime") if key in runtime
    }
    for part in TRAINING_PARTS:
        node = values[section].get(part)
        if not isinstance(node, dict):
            result[part] = node or values[part]
        elif part != "hparams" and "_target_" in node:
            result[part] = _with_folders(node, values[part]) if part == "dataset" else node
        else:
            result[part] = values[part] | node
    hparams = values[section].get("hparams") or {}
    if "epochs" in hparams and "steps" not in hparams:  # those of the training would win
        result["hparams"]["steps"] = None
    return result


def pretraining_length(values: dict[str, Any]) -> Step:
    """Length of the training before the main one, "0" if there is none."""
    if not has_training(values):
        return "0"
    hparams = merge_section(values)["hparams"]
    return hparams["steps"] or f"{hparams['epochs']}ep"


def pretraining_errors(values: dict[str, Any]) -> list[str]:
    """Errors of the section `pretrain` itself, one line each."""
    options = values["pretrain"]
    parts = [part for part in TRAINING_PARTS if options.get(part)]
    file = options.get("weights")
    if file is not None and parts:
        names = ", ".join(f"pretrain.{part}" for part in parts)
        return [f"pretrain.weights={file}: takes the place of a training, so not {names}"]
    return []


def _with_folders(node: dict[str, Any], main: dict[str, Any]) -> dict[str, Any]:
    try:
        takes = signatures.arguments(node["_target_"])
    except (LookupError, ImportError):  # the check will say so
        return node
    shared = {
        key: main[key]
        for key in config_schema.UNNAMED_IN_PARTS["dataset"]
        if key in main and key in takes and node.get(key) is None
    }
    return node | shared
