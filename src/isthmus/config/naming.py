"""Names of runs, digests of the options that change a result; and the mode of a script."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from isthmus.config import schema, signatures
from isthmus.config.parts import GROUPS
from isthmus.config.schema import IN_RUN_NAME, Section, Values
from isthmus.config.signatures import REQUIRED, Argument


def choose_mode(cls: type[Section], values: Mapping[str, Any]) -> type[Section]:
    """The options of a script's mode; of a script with one mode, its own.

    The last mode whose options have a value; the first if none has.
    """
    modes = cls.MODES or {cls: ()}
    typed_modes = [mode for mode, needed in modes.items() if _have_values(needed, values)]
    return [*list(modes)[:1], *typed_modes][-1]


def options_of_other_mode(
    mode: type[Section], script: type[Section], typed: Iterable[str]
) -> list[str]:
    """Errors for options on the command line that belong to another mode.

    Args:
        mode: of the script, see `choose_mode`.
        script: the options of the whole script.
        typed: names of the options on the command line.
    """
    known, errors = schema.fields(mode), []
    for name in dict.fromkeys(option.partition(".")[0] for option in typed):
        if name in schema.fields(script) and name not in known:
            takes = ", ".join(typed_fields(mode))
            errors.append(
                f"{name}: not with {' and '.join(script.MODES[mode])}, which takes {takes}"
            )
    return errors


def typed_fields(cls: type[Section]) -> list[str]:
    """Names of the options that can be typed."""
    return [
        name for name, each in schema.fields(cls).items() if not each.metadata.get("is_derived")
    ]


def missing_mode(values: Mapping[str, Any], script: type[Section]) -> list[str]:
    """The error that no option selects a mode, or none."""
    if not script.MODES or any(_have_values(each, values) for each in script.MODES.values()):
        return []
    usages = [" and ".join(f"{option}=..." for option in each) for each in script.MODES.values()]
    return [f"{', or '.join(usages)} says what to do; --help says what each means"]


def _have_values(options: Iterable[str], values: Mapping[str, Any]) -> bool:
    return any(values.get(option) not in (None, "???") for option in options)


def run_name(values: Values, cls: type[Section]) -> str:
    """Ten hexadecimal digits of the canonical text of `identity`."""
    return digest(identity(values, cls))


def section_name(values: Values, cls: type[Section], kind: str = IN_RUN_NAME) -> str:
    """Ten hexadecimal digits that name one section of a configuration.

    Args:
        values: of the section.
        cls: of its options, which say what kind of name they are in.
    """
    return digest(section_identity(values, schema.fields(cls), kind))


def identity(values: Values, cls: type[Section]) -> dict[str, Any]:
    """The content of a run's name: every value that changes its result and is not its default.

    And the version of the script's results. Parts of `isthmus` are named by their class, so that
    moving a module renames no run. Defaults are those of the code: editing a YAML file changes the
    name, a new option in the code does not.
    """
    version, values = cls.RESULTS_VERSION, effective_values(values, cls)
    named: dict[str, Any] = {} if version is None else {"results": version}
    for key, argument in schema.fields(cls).items():
        value, nested = values.get(key), schema.section_class(argument)
        if argument.metadata["in_name"] != IN_RUN_NAME:
            continue
        if schema.is_part(argument):
            value = part_identity(key, value)
        elif nested is not None and isinstance(value, dict):
            value = section_identity(value, schema.fields(nested))
        elif _is_default(value, argument):
            continue
        if value != {}:
            named[key] = _sort_if_set(value, argument)
    return named


def effective_values(values: Values, cls: type[Section]) -> Values:
    """The values of a script without those that change nothing beside the others."""
    return _without(values, schema.options_without_effect(values, cls))


def _without(values: Values, names: Mapping[str, Any], prefix: str = "") -> Values:
    """Values without some, by their full names."""
    return {
        key: _without(value, names, f"{prefix}{key}.") if isinstance(value, dict) else value
        for key, value in values.items()
        if f"{prefix}{key}" not in names
    }


def typed_changes(values: Values, cls: type[Section], overrides: Iterable[str]) -> list[str]:
    """The overrides on a command line without those that repeat a default of the code.

    Args:
        values: of the script.
        cls: of its options.
        overrides: as typed, "optimizer.lr=0.1".
    """
    return [text for text in overrides if not _repeats_default(text, values, cls)]


def _repeats_default(text: str, values: Values, cls: type[Section]) -> bool:
    group, _, key = text.lstrip("+~").partition("=")[0].partition(".")
    argument, value = schema.fields(cls).get(group), values.get(group)
    if argument is None:
        return False
    if not key:
        return (
            not schema.is_part(argument)
            and not isinstance(value, dict)
            and value == argument.default
        )
    nested = schema.section_class(argument)
    if schema.is_part(argument) and key not in GROUPS[group].unnamed:
        return isinstance(value, dict) and key not in part_identity(group, value)
    fields = schema.fields(nested) if nested else {}
    return key in fields and isinstance(value, dict) and value.get(key) == fields[key].default


def part_identity(group: str, node: Any) -> dict[str, Any]:
    """A part by its target and the arguments that are not their defaults; {} if it is off.

    A data set without a target is the one saved with the weights, with the values of the node.
    """
    part = schema.make_part(group, node)
    if part is None or (part.target is None and group != "dataset"):
        return {}
    try:
        fields = signatures.arguments(part.full_target()) | schema.common_fields(group)
    except (LookupError, ImportError):  # the check will say so
        fields = {}
    unnamed = GROUPS[group].unnamed | {"_partial_"}
    named = with_short_names(part.node())
    return _non_defaults({key: value for key, value in named.items() if key not in unnamed}, fields)


def section_identity(
    values: Values, fields: Mapping[str, Argument], kind: str = IN_RUN_NAME
) -> dict[str, Any]:
    """The values of a section that are in a name and are not their defaults; parts by `identity`.

    Args:
        values: as plain Python.
        fields: of the section.
    """
    named = {}
    for key, value in values.items():
        if key in fields and fields[key].metadata["in_name"] != kind:
            continue
        is_part = isinstance(value, dict) and (key == "dataset" or "_target_" in value)
        named[key] = part_identity(key, value) if is_part else value
    return {key: value for key, value in _non_defaults(named, fields).items() if value != {}}


def with_short_names(value: Any) -> Any:
    """A node, and all nodes inside it, with short names of targets."""
    if isinstance(value, list):
        return [with_short_names(item) for item in value]
    if not isinstance(value, dict):
        return value
    named = {key: with_short_names(item) for key, item in value.items()}
    if isinstance(named.get("_target_"), str):
        named["_target_"] = signatures.short_name(named["_target_"])
    return named


def reproducible_config(values: Values) -> dict[str, Any]:
    """The options of a training without those that say where and how a job runs."""
    where = {"runtime", "output_dir", "snapshots"}
    unnamed = GROUPS["dataset"].unnamed
    config = {key: value for key, value in values.items() if key not in where}
    dataset = {k: v for k, v in values["dataset"].items() if k not in unnamed}
    return with_short_names(config | {"dataset": dataset})


def _non_defaults(values: Values, fields: Mapping[str, Argument]) -> dict[str, Any]:
    """The values that are not their defaults."""
    return {
        key: _sort_if_set(value, fields[key]) if key in fields else value
        for key, value in values.items()
        if key not in fields or not _is_default(value, fields[key])
    }


def _is_default(value: Any, argument: Argument) -> bool:
    if argument.default is REQUIRED:
        return False
    if argument.default == {}:
        return not value  # null, too
    return bool(_sort_if_set(value, argument) == _sort_if_set(argument.default, argument))


def _sort_if_set(value: Any, argument: Argument) -> Any:
    """A list sorted, if its order has no meaning; any other value as it is."""
    is_set = argument.metadata.get("is_set") and isinstance(value, list)
    return sorted(value) if is_set else value


def digest(content: Mapping[str, Any]) -> str:
    """Ten hexadecimal digits of the canonical text of what a name holds."""
    text = json.dumps(_canonical(content), sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=5).hexdigest()


def _canonical(value: Any) -> Any:
    """One form for equal numbers, so that lr=1 and lr=1.0 are one run."""
    if isinstance(value, Mapping):
        return {key: _canonical(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_canonical(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
