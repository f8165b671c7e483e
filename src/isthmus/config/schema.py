"""Options classes: their fields with ranges and naming rules, and objects made of checked values.

A study declares its options once, in a dataclass derived from `Section`: `config.validation` checks
what was typed against it, `config.naming` names runs by it, and the code receives an object of it.
A value that equals its default is left out of a run's name, so a new option with a default renames
no older run.
"""

import dataclasses
import functools
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar, get_args

from isthmus.config import signatures
from isthmus.config.parts import GROUPS, Part
from isthmus.config.signatures import REQUIRED, Argument

# Where the options of each script are declared.
SCRIPTS = {
    "train": "isthmus.training.options.TrainScript",
    "eval": "isthmus.averaging.options.Eval",
    "average": "isthmus.averaging.options.Average",
    "spawn": "isthmus.branching.options.Spawn",
    "interpolate": "isthmus.connectivity.options.Interpolate",
    "prune": "isthmus.pruning.options.Prune",
    "extract": "isthmus.extraction.options.Extract",
    "plots": "isthmus.plots.options.Plots",
    "tune": "isthmus.training.options.Tune",
}

Values = dict[str, Any]  # of a configuration, as plain Python: by option, "???" if missing
IN_RUN_NAME = "run"


@dataclass(frozen=True, kw_only=True)
class Section:
    """Base of all options: of a script, or of one section of them, such as `hparams`."""

    # Of a script, in the names of its runs: raised by a change that makes other numbers.
    RESULTS_VERSION: ClassVar[int | None] = None
    # Of a script with several modes: the options of each, and those that choose it; else the first.
    MODES: ClassVar[Mapping[type["Section"], tuple[str, ...]]] = {}

    def errors(self) -> list[str]:
        """Errors across options whose types are right, one line each, as "option=value: ...".

        Names are those inside the section; its own name is put before them.
        """
        return []

    @classmethod
    def complete_values(cls, values: Values, typed: Sequence[str]) -> Values:
        """Values with those that follow from what was typed.

        Args:
            values: of a script, not yet checked.
            typed: names of the options on the command line, such as "dataset.root".
        """
        return values

    @classmethod
    def without_effect(cls, values: Values) -> dict[str, str]:
        """Options that change nothing beside the others: the reason by their full name.

        They are refused where they were typed, and else left out of the name of the run. The values
        are not checked yet. Those of a part are said by the class that it is made of, see
        `options_without_effect`.
        """
        return {}

    @classmethod
    def folder_prefix(cls, script: str, values: Values) -> str:
        """What the folder of a run begins with, before "_" and its name."""
        return script


AnySection = TypeVar("AnySection", bound=Section)


def option(
    default: Any = dataclasses.MISSING,
    *,
    in_name: str | None = IN_RUN_NAME,
    is_derived: bool = False,
    is_set: bool = False,
    is_partial: bool = False,
    aliases: tuple[str, ...] = (),
    **rules: Any,
) -> Any:
    """A field of an options class.

    Args:
        default: a list or dict is copied, the class of a section called; without one, a value
            must be typed.
        in_name: the kind of name that has its value; None: it changes no result, or requests more.
        is_derived: it follows from other options and cannot be typed.
        is_set: a list whose order has no meaning.
        is_partial: a part that may have values alone, which change a part of elsewhere.
        aliases: names that others have for it, and for which it is suggested.
        rules: ranges of a number, or of each number of a list: `above`, `below`, `at_least`,
            `at_most`; of a list: `nonempty`, `distinct`. See `validation`.
    """
    metadata = {
        "in_name": in_name,
        "is_derived": is_derived,
        "is_set": is_set,
        "is_partial": is_partial,
        "aliases": aliases,
    } | rules
    if isinstance(default, list | dict):
        return dataclasses.field(default_factory=default.copy, metadata=metadata)
    if isinstance(default, type):
        return dataclasses.field(default_factory=default, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def fields(cls: type[Section]) -> dict[str, Argument]:
    """The fields of an options class, by name; defaults as plain Python."""
    any_class: Any = cls  # mypy takes a class for unhashable whose objects are
    return _fields(any_class)


@functools.cache
def _fields(cls: Any) -> dict[str, Argument]:
    result = {}
    for each in dataclasses.fields(cls):
        default = each.default
        if each.default_factory is not dataclasses.MISSING:
            default = each.default_factory()
        if default is dataclasses.MISSING:
            default = REQUIRED
        elif isinstance(default, Section):
            default = to_values(default)
        metadata = {"in_name": IN_RUN_NAME, **each.metadata}
        result[each.name] = Argument(
            each.name, each.type, default, types.MappingProxyType(metadata)
        )
    return result


def section_class(argument: Argument) -> type[Section] | None:
    """The class of a field that is a section itself, such as `hparams`; None for another field."""
    kind = argument.annotation
    return kind if isinstance(kind, type) and issubclass(kind, Section) else None


def is_part(argument: Argument) -> bool:
    """Whether a field is a part of the group of its name."""
    return Part in (argument.annotation, *get_args(argument.annotation))


def default_values(cls: type[Section]) -> Values:
    """The defaults of an options class, "???" where it has none."""
    return {
        name: "???" if argument.default is REQUIRED else argument.default
        for name, argument in fields(cls).items()
    }


def make_options(cls: type[AnySection], values: Values) -> AnySection:
    """The options object of values whose types were checked; values of other classes are dropped.

    Args:
        cls: of the options.
        values: as plain Python.
    """
    made: Values = {}
    for name, argument in fields(cls).items():
        if name not in values:
            continue
        value, nested = values[name], section_class(argument)
        if nested is not None:
            value = make_options(nested, value)
        elif is_part(argument):
            part = make_part(name, value)
            is_off = part and part.target is None and not argument.metadata.get("is_partial")
            value = None if is_off else part
        made[name] = value
    return cls(**made)


def make_part(group: str, node: Any) -> Part | None:
    """A part from its node of a configuration; None if it is off."""
    if not isinstance(node, dict) or not node:
        return None
    arguments = {key: value for key, value in node.items() if key != "_target_"}
    return Part(group, node.get("_target_"), arguments)


def to_values(options: Section, cls: type[Section] | None = None) -> Values:
    """Options as plain Python, without derived ones; the opposite of `make_options`.

    Args:
        options: of a script, or a section.
        cls: a base of its class, whose options alone are kept; None for all.
    """
    return {
        name: _plain(getattr(options, name))
        for name, argument in fields(cls or type(options)).items()
        if not argument.metadata.get("is_derived")
    }


def _plain(value: Any) -> Any:
    if isinstance(value, Section):
        return to_values(value)
    return value.node() if isinstance(value, Part) else value


def options_without_effect(values: Values, cls: type[Section]) -> dict[str, str]:
    """Options of a script and of its parts that change nothing: the reason by their full name.

    The class of a part says in an attribute `WITHOUT_EFFECT` which of its options have no effect
    where which others have certain values: {"val_seed": {"val_fraction": 0}}.

    Args:
        values: of the script, not yet checked.
        cls: of its options.
    """
    found = dict(cls.without_effect(values))
    for name, argument in fields(cls).items():
        node, nested = values.get(name), section_class(argument)
        if is_part(argument):
            found |= _without_effect_in_part(name, name, node)
        elif nested is not None and isinstance(node, dict):
            for key, each in fields(nested).items():
                if is_part(each):
                    found |= _without_effect_in_part(f"{name}.{key}", key, node.get(key))
    return found


def _without_effect_in_part(name: str, group: str, node: Any) -> dict[str, str]:
    found = {}
    for target in (make_part(group, node), GROUPS[group].common):
        dotpath = target.full_target() if isinstance(target, Part) else target
        rules = signatures.attribute(dotpath, "WITHOUT_EFFECT") if dotpath else {}
        for option_name, conditions in (rules if isinstance(rules, dict) else {}).items():
            if all(part_value(group, node, each) == value for each, value in conditions.items()):
                values = [
                    f"{name}.{each}={signatures.format_value(value)}"
                    for each, value in conditions.items()
                ]
                found[f"{name}.{option_name}"] = f"because {' and '.join(values)}"
    return found


def part_value(group: str, node: Any, name: str, missing: Any = None) -> Any:
    """The value of one argument of a part, its default if it has none in the configuration.

    Args:
        group: of the part.
        node: of the part, not yet checked.
        name: of the argument.
        missing: returned where the part is off, or has no such argument.
    """
    part = make_part(group, node)
    if part is None:
        return missing
    if name in part.arguments:
        return part.arguments[name]
    try:
        known = signatures.arguments(part.full_target()) | common_fields(group)
    except (LookupError, ImportError):  # the check will say so
        return missing
    default = known[name].default if name in known else missing
    return missing if default is REQUIRED else default


def common_fields(group: str) -> dict[str, Argument]:
    """The options that every part of a group has besides its own; {} if there are none."""
    common = GROUPS[group].common
    return fields(signatures.locate(common)) if common else {}
