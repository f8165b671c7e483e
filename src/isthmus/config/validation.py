"""Validation of options: types, ranges, and rules across options."""

from collections.abc import Mapping
from typing import Any

from isthmus.config import schema, signatures, suggestions
from isthmus.config.parts import GROUPS
from isthmus.config.schema import Section, Values
from isthmus.config.signatures import REQUIRED, Argument, format_value


def validation_errors(values: Values, cls: type[Section]) -> list[str]:
    """Errors of a configuration, one line each; empty if it can run.

    Args:
        values: the configuration as plain Python, interpolations resolved, "???" where a value
            is missing.
        cls: of its options.
    """
    errors = _type_errors(values, cls)
    if errors:
        return errors
    errors = _range_errors(values, cls) + _effect_errors(values, cls)
    return errors + rule_errors(schema.make_options(cls, values))


def rule_errors(options: Section) -> list[str]:
    """Errors across options, of every section too, with their full names."""
    errors = options.errors()
    for name, argument in schema.fields(type(options)).items():
        if schema.section_class(argument) is not None:
            errors += [f"{name}.{error}" for error in rule_errors(getattr(options, name))]
    return errors


def part_errors(group: str, node: Any, optional: bool, cls: type[Section] = Section) -> list[str]:
    """Errors of one part, a `_target_` and its arguments.

    Args:
        group: of the part.
        node: as in the configuration.
        optional: whether it may be off.
        cls: of the script's options, among which an unknown name may have been meant.
    """
    is_off = node is None or (isinstance(node, dict) and "_target_" not in node)
    if is_off and optional:
        return []
    if is_off or not isinstance(node, dict):
        return [f"{group}={format_value(node)}: must be an option of the group, see conf/{group}"]
    try:
        arguments = list(signatures.arguments(str(node["_target_"])).items())
    except (LookupError, ImportError) as error:
        return [f"{group}._target_: {error}"]
    known = dict(arguments[GROUPS[group].num_supplied :]) | schema.common_fields(group)
    values = {key: value for key, value in node.items() if key not in ("_target_", "_partial_")}
    missing = [
        f"{group}.{name}: needs a value, {group}.{name}=..."
        for name, argument in known.items()
        if argument.default is REQUIRED and name not in values
    ]
    return missing + _key_errors(group, values, known, cls)


def number_errors(name: str, value: Any, rules: Mapping[str, Any]) -> list[str]:
    """Errors of a number, or of the numbers of a list, that are out of range.

    Args:
        name: of the option, in full.
        value: of the right type; anything but a number or a list of numbers has no range.
        rules: `above`, `below`, `at_least`, `at_most`: bounds, those of the first two excluded.
    """
    numbers = [each for each in (value if isinstance(value, list) else [value]) if _is_number(each)]
    for rule, is_met in _BOUNDS.items():
        bound = rules.get(rule)
        if bound is not None and not all(is_met(number, bound) for number in numbers):
            return [f"{name}={format_value(value)}: must {_bound_text(rule, bound)}"]
    return []


def list_errors(name: str, value: Any, rules: Mapping[str, Any]) -> list[str]:
    """Errors of a list that must not be empty (`nonempty`), or not repeat a value (`distinct`)."""
    if not isinstance(value, list):
        return []
    if rules.get("nonempty") and not value:
        return [f"{name}=[]: must hold at least one value"]
    if rules.get("distinct") and len(set(map(str, value))) < len(value):
        return [f"{name}={format_value(value)}: must not repeat a value"]
    return []


_BOUNDS = {
    "above": lambda number, bound: number > bound,  # so written, they refuse nan
    "at_least": lambda number, bound: number >= bound,
    "below": lambda number, bound: number < bound,
    "at_most": lambda number, bound: number <= bound,
}


def _bound_text(rule: str, bound: float) -> str:
    if bound == 0 and rule in ("above", "at_least"):
        return "be positive" if rule == "above" else "not be negative"
    return f"be {rule.replace('_', ' ')} {bound:g}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _type_errors(values: Values, cls: type[Section]) -> list[str]:
    errors = []
    for key, argument in schema.fields(cls).items():
        value, nested = values.get(key, "???"), schema.section_class(argument)
        if argument.metadata.get("is_derived"):
            continue
        if schema.is_part(argument):
            errors += part_errors(key, value, argument.default is None, cls)
        elif nested is not None:
            errors += _section_errors(key, value, nested, cls)
        else:
            errors += _value_errors(key, value, argument)
    return errors


def _section_errors(name: str, values: Any, cls: type[Section], script: type[Section]) -> list[str]:
    known = schema.fields(cls)
    if not isinstance(values, dict):
        return [f"{name}={format_value(values)}: must have {', '.join(known)}"]
    parts = {key for key, argument in known.items() if schema.is_part(argument)}
    plain = {key: value for key, value in values.items() if key not in parts}
    needed = dict.fromkeys([key for key in known if key not in parts], "???")
    # A part of a section may have values alone: they are checked with the part that they change.
    return _key_errors(name, needed | plain, known, script) + [
        f"{name}.{key}={format_value(values[key])}: must be an option of the group, see conf/{key}"
        for key in sorted(parts & values.keys())
        if not isinstance(values[key], dict | None)
    ]


def _key_errors(
    group: str, values: Values, known: Mapping[str, Argument], script: type[Section]
) -> list[str]:
    errors = []
    for key, value in values.items():
        name = f"{group}.{key}"
        if key in known:
            errors += _value_errors(name, value, known[key])
            continue
        inside = {f"{group}.{each}": () for each in known}
        meant = suggestions.nearest_options(name, inside)
        meant = meant or suggestions.nearest_options(name, suggestions.option_names(script))
        options, question = ", ".join(sorted(known)), suggestions.question(meant)
        errors.append(
            f"{name}={format_value(value)}: no such option; {group} takes {options}{question}"
        )
    return errors


def _value_errors(name: str, value: Any, argument: Argument) -> list[str]:
    if value == "???":
        return [f"{name}: needs a value, {name}=..."]
    if signatures.fits_annotation(value, argument.annotation):
        return []
    kind = signatures.describe_annotation(argument.annotation)
    meant = suggestions.nearest(str(value), signatures.list_choices(argument.annotation))
    question = suggestions.question(meant)
    return [f"{name}={format_value(value)}: must be {kind}{question}"]


def _effect_errors(values: Values, cls: type[Section]) -> list[str]:
    """Errors of typed options that change nothing beside the others."""
    return [
        f"{name}={format_value(_select(values, name))}: has no effect, {reason}"
        for name, reason in schema.options_without_effect(values, cls).items()
        if name in values.get("typed", ())
    ]


def _select(values: Any, name: str) -> Any:
    """The value of an option by its full name."""
    for key in name.split("."):
        values = values.get(key) if isinstance(values, dict) else None
    return values


def _range_errors(values: Values, cls: type[Section], prefix: str = "") -> list[str]:
    """Errors of values whose type is right and which are out of range, of every section too."""
    errors = []
    for key, argument in schema.fields(cls).items():
        name, value, nested = f"{prefix}{key}", values.get(key), schema.section_class(argument)
        if nested is not None:
            errors += _range_errors(value or {}, nested, f"{name}.")
        else:
            errors += list_errors(name, value, argument.metadata)
            errors += number_errors(name, value, argument.metadata)
    return errors
