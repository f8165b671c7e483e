"""Whether a value from a configuration is of an annotated type, told from the annotation's text."""

import types
from collections.abc import Sequence
from typing import Any, Literal, Union, get_args, get_origin

from isthmus import steps


def fits(value: Any, annotation: str) -> bool:
    """Whether a value from a configuration is of an annotated type.

    Args:
        value: a number, text, boolean, None or list of these.
        annotation: source text such as "float | list[float]" or 'Literal["a", "b"]'; "" or an
            annotation of other names than these fits everything.
    """
    try:
        kind = _kind(annotation)
    except (NameError, TypeError):  # another name, or one in quotation marks
        return True
    return _fits(value, kind)


def describe(annotation: str) -> str:
    """What an annotation allows, for a message."""
    return _describe(_kind(annotation))


def choices(annotation: str) -> tuple[Any, ...]:
    """The values that a Literal allows."""
    return get_args(_kind(annotation))


class _Step:
    """Stands for `steps.Step` in annotations: text that is a moment of training."""


_KINDS = {
    "int": int,
    "float": float,
    "bool": bool,
    "str": str,
    "list": list,
    "tuple": tuple,
    "Sequence": Sequence,
    "Literal": Literal,
    "Step": _Step,
    "Any": Any,
    "None": None,
}

_WORDS = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    list: "a list",
    tuple: "a list",
    Sequence: "a list",
    _Step: "a step such as 30ep, 500it or 2ep100it",
    None: "null",
    type(None): "null",
}


def _kind(annotation: str) -> Any:
    return eval(annotation or "Any", {"__builtins__": {}}, _KINDS)  # our own source text


def _alternatives(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)


def _fits(value: Any, kind: Any) -> bool:
    return any(_fits_one(value, part) for part in _alternatives(kind))


def _fits_one(value: Any, kind: Any) -> bool:
    origin = get_origin(kind)
    if origin is Literal:
        return any(value == choice and type(value) is type(choice) for choice in get_args(kind))
    if origin is not None:
        element = get_args(kind)[0]
        return isinstance(value, list) and all(_fits(item, element) for item in value)
    if kind is None or kind is type(None):
        return value is None
    if kind is _Step:
        return isinstance(value, str | int) and not isinstance(value, bool) and _is_step(value)
    if kind in (int, float):
        allowed = (int, float) if kind is float else int
        return isinstance(value, allowed) and not isinstance(value, bool)
    if kind in (list, tuple, Sequence):  # a configuration has lists alone
        return isinstance(value, list)
    return isinstance(value, kind) if kind in (bool, str) else True


def _is_step(value: str | int) -> bool:
    try:
        steps.parse(str(value))
    except ValueError:
        return False
    return True


def _describe(kind: Any) -> str:
    return " or ".join(_describe_one(part) for part in _alternatives(kind))


def _describe_one(kind: Any) -> str:
    if get_origin(kind) is Literal:
        typed = (str(c).lower() if isinstance(c, bool) else str(c) for c in get_args(kind))
        return "one of " + ", ".join(typed)
    if get_origin(kind) is not None:
        return f"a list of ({_describe(get_args(kind)[0])})"
    return _WORDS.get(kind, str(kind))


def shown(value: Any) -> str:
    """A value as one would type it."""
    if isinstance(value, list):
        return f"[{','.join(map(shown, value))}]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}: {shown(item)}" for key, item in value.items()) + "}"
    if isinstance(value, bool):
        return str(value).lower()
    return "null" if value is None else str(value)
