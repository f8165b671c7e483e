"""Arguments of a function or class by its dotpath, and whether a value fits an annotation.

Modules of `isthmus` are parsed, not imported: importing torch takes seconds.
"""

import ast
import functools
import inspect
import pydoc
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from isthmus import steps, vocabulary
from isthmus.paths import SOURCES
from isthmus.steps import Notation
from isthmus.vocabulary import Range


def fits_annotation(value: Any, annotation: Any) -> bool:
    """Whether a value from a configuration is of an annotated type.

    Args:
        value: a number, text, boolean, None or list of these.
        annotation: a type, or source text such as "float | list[float]" or 'Literal["a", "b"]';
            "" or an annotation with unknown names fits everything.
    """
    try:
        kind = _kind(annotation)
    except (NameError, TypeError):  # another name, or one in quotation marks
        return True
    return _fits(value, kind)


def describe_annotation(annotation: Any) -> str:
    """Text that says what an annotation allows, for a message."""
    return _describe(_kind(annotation))


def list_choices(annotation: Any) -> list[str]:
    """The texts that an annotation allows, where these are a few."""
    choices: list[str] = []
    for kind in _alternatives(_kind(annotation)):
        if get_origin(kind) is Literal:
            choices += [choice for choice in get_args(kind) if isinstance(choice, str)]
    return choices


_KINDS = {
    "int": int,
    "float": float,
    "bool": bool,
    "str": str,
    "list": list,
    "tuple": tuple,
    "Sequence": Sequence,
    "Literal": Literal,
    "Step": steps.Step,
    "Any": Any,
    "None": None,
    # Its types by name, alone or as in `vocabulary.Split`.
    "vocabulary": vocabulary,
    **{
        name: kind
        for name, kind in vars(vocabulary).items()
        if get_origin(kind) in (Literal, Annotated)
    },
}

_WORDS = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    list: "a list",
    tuple: "a list",
    Sequence: "a list",
    None: "null",
    type(None): "null",
}


def _kind(annotation: Any) -> Any:
    if not isinstance(annotation, str):
        return annotation
    return eval(annotation or "Any", {"__builtins__": {}}, _KINDS)  # our own source text


def _alternatives(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)


def _fits(value: Any, kind: Any) -> bool:
    return any(_fits_one(value, part) for part in _alternatives(kind))


def _fits_one(value: Any, kind: Any) -> bool:
    origin = get_origin(kind)
    if origin is Annotated and isinstance(get_args(kind)[1], Range):
        number, numbers = get_args(kind)
        return _fits_one(value, number) and numbers.contains(value)
    if origin is Annotated:  # text of a notation, such as a step
        is_text = isinstance(value, str | int) and not isinstance(value, bool)
        return is_text and _has_notation(str(value), get_args(kind)[1])
    if origin is Literal:
        return any(value == choice and type(value) is type(choice) for choice in get_args(kind))
    if origin is dict:
        return isinstance(value, dict)
    if origin is not None:
        element = get_args(kind)[0]
        return isinstance(value, list) and all(_fits(item, element) for item in value)
    if kind is None or kind is type(None):
        return value is None
    if kind in (int, float):
        allowed = (int, float) if kind is float else int
        return isinstance(value, allowed) and not isinstance(value, bool)
    if kind in (list, tuple, Sequence):  # a configuration has lists alone
        return isinstance(value, list)
    return isinstance(value, kind) if kind in (bool, str) else True


def _has_notation(text: str, notation: Notation) -> bool:
    try:
        notation.parse(text)
    except ValueError:
        return False
    return True


def _describe(kind: Any) -> str:
    return " or ".join(_describe_one(part) for part in _alternatives(kind))


def _describe_one(kind: Any) -> str:
    if get_origin(kind) is Literal:
        typed = (str(c).lower() if isinstance(c, bool) else str(c) for c in get_args(kind))
        return "one of " + ", ".join(typed)
    if get_origin(kind) is Annotated:
        plain, rule = get_args(kind)
        return f"{_WORDS[plain]} {rule.text}" if isinstance(rule, Range) else rule.description
    if get_origin(kind) is dict:
        return "options by name"
    if get_origin(kind) is not None:
        return f"a list of ({_describe(get_args(kind)[0])})"
    return _WORDS.get(kind, str(kind))


def format_value(value: Any) -> str:
    """A value as typed on a command line."""
    if isinstance(value, list):
        return f"[{','.join(map(format_value, value))}]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}: {format_value(item)}" for key, item in value.items()) + "}"
    if isinstance(value, bool):
        return str(value).lower()
    return "null" if value is None else str(value)


ROOT = SOURCES
PLAIN = (bool, int, float, str)  # the annotations outside `isthmus` that values are checked by
REQUIRED = object()  # the default of an argument that has none
UNKNOWN = object()  # a default that is not a literal, and equals nothing


@dataclass(frozen=True)
class Argument:
    """One argument of a function or of a class's constructor."""

    name: str
    annotation: Any  # as in the source, "" where there is none; or a type
    default: Any
    metadata: Mapping[str, Any] = field(default_factory=dict)  # of the field of a dataclass


def arguments(target: str) -> dict[str, Argument]:
    """Arguments of the function or class at a dotpath, by name, without `self`.

    Args:
        target: such as "isthmus.models.mlp.MLP" or "torch.optim.RMSprop"; what is in `isthmus` is
            read from its source, anything else is imported.

    Raises:
        LookupError: nothing has that name.
        ImportError: it is outside `isthmus`, in a module that cannot be imported.
    """
    module = target.rpartition(".")[0]
    if not module.startswith("isthmus."):
        return _inspect(target)
    node = _definition(target)  # what a module imports, such as isthmus.config.os, is not in it
    if node is None:
        raise LookupError(f"there is no {target}; {_content_message(module)}")
    return {argument.name: argument for argument in _read(node, _path(module))}


def short_name(target: str) -> str:
    """Name of a target in names of runs and in weights, so that both survive a move of the code.

    For `isthmus` the name of its class or function, "MLP"; for another package the whole dotpath.
    """
    is_own = target.startswith(("isthmus.", "src."))  # `src.`: in files of older versions
    return target.rpartition(".")[2] if is_own else target


def full_target(package: str, target: str) -> str:
    """The current dotpath of a target from a file.

    Args:
        package: of `isthmus`, that a short name is looked for in: "models".
        target: a short name, a dotpath of another package, or an earlier dotpath of `isthmus`.

    Returns:
        The dotpath; `target` itself where no module of the package defines that name.
    """
    name = short_name(target)
    if "." in name or is_defined(target):
        return target
    for path in sorted((ROOT / "isthmus" / package).glob("*.py")):
        if name in _definitions(path):
            return f"isthmus.{package}.{path.stem}.{name}"
    return target


def is_defined(target: str) -> bool:
    """Whether a module of `isthmus` has a function or class at a dotpath."""
    return _definition(target) is not None


def locate(target: str) -> Any:
    """Import the function or class at a dotpath.

    Raises:
        LookupError: nothing has that name.
        ImportError: its module cannot be imported.
    """
    try:
        value = pydoc.locate(target)
    except pydoc.ErrorDuringImport as error:
        raise ImportError(str(error)) from error
    if not callable(value):
        raise LookupError(f"there is no {target}")
    return value


def attribute(target: str, name: str) -> Any:
    """The value of a class attribute, inherited ones too.

    Args:
        target: dotpath of the class; what is in `isthmus` is read, anything else is imported.
        name: of the attribute.

    Returns:
        The value; REQUIRED where there is none, UNKNOWN where it is not a literal.
    """
    module = target.rpartition(".")[0]
    if not module.startswith("isthmus."):
        try:
            return getattr(locate(target), name, REQUIRED)
        except (LookupError, ImportError):
            return REQUIRED
    node = _definition(target)
    if not isinstance(node, ast.ClassDef):
        return REQUIRED
    return _read_attribute(node, _path(module), name)


def _path(module: str) -> Path:
    return ROOT.joinpath(*module.split(".")).with_suffix(".py")


def _definition(target: str) -> ast.ClassDef | ast.FunctionDef | None:
    """The class or function of `isthmus` at a dotpath; None if there is none."""
    module, _, name = target.rpartition(".")
    path = _path(module)
    is_own = module.startswith("isthmus.") and path.exists()
    return _definitions(path).get(name) if is_own else None


@functools.cache
def _definitions(path: Path) -> dict[str, ast.ClassDef | ast.FunctionDef]:
    body = ast.parse(path.read_text()).body
    return {node.name: node for node in body if isinstance(node, ast.ClassDef | ast.FunctionDef)}


@functools.cache
def _imports(path: Path) -> dict[str, tuple[str, str]]:
    return {
        alias.asname or alias.name: (node.module or "", alias.name)
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def _content_message(module: str) -> str:
    path = _path(module)
    if path.exists():
        names = [name for name in _definitions(path) if not name.startswith("_")]
        return f"{module} has {', '.join(names) or 'nothing'}"
    package = module.rpartition(".")[0]
    modules = sorted(file.stem for file in path.parent.glob("[a-z]*.py"))
    return f"{package} has {', '.join(modules)}" if modules else f"there is no package {package}"


def _read(node: ast.ClassDef | ast.FunctionDef, path: Path) -> list[Argument]:
    if isinstance(node, ast.FunctionDef):
        return _parameters(node)
    for item in node.body:
        if isinstance(item, ast.FunctionDef) and item.name == "__init__":
            return _parameters(item)[1:]
    fields: dict[str, Argument] = {}
    for base in reversed(node.bases):  # the first base overrides the others
        fields |= {field.name: field for field in _base(base, path)}
    for item in node.body:
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
            annotation = ast.unparse(item.annotation)
            if not annotation.startswith("ClassVar"):
                default = _default(item.value)
                fields[item.target.id] = Argument(item.target.id, annotation, default)
    return list(fields.values())


def _base(base: ast.expr, path: Path) -> list[Argument]:
    first = ast.unparse(base)
    if first in _definitions(path):
        return _read(_definitions(path)[first], path)
    dotpath = _dotpath(base, path)
    return list(arguments(dotpath).values()) if dotpath.startswith("isthmus.") else []


def _dotpath(base: ast.expr, path: Path) -> str:
    """The dotpath of an imported class that another is derived from: Recipe, or recipe.Recipe."""
    first, _, rest = ast.unparse(base).partition(".")
    return ".".join([*_imports(path).get(first, ()), rest]).rstrip(".")


def _read_attribute(node: ast.ClassDef, path: Path, name: str) -> Any:
    for item in node.body:
        if isinstance(item, ast.AnnAssign) and ast.unparse(item.target) == name and item.value:
            return _default(item.value)
        if isinstance(item, ast.Assign) and name in map(ast.unparse, item.targets):
            return _default(item.value)
    for base in node.bases:
        definition = _definitions(path).get(ast.unparse(base))
        if isinstance(definition, ast.ClassDef):
            value = _read_attribute(definition, path, name)
        else:  # a base outside, such as torch.nn.Module, would be imported
            dotpath = _dotpath(base, path)
            value = attribute(dotpath, name) if dotpath.startswith("isthmus.") else REQUIRED
        if value is not REQUIRED:
            return value
    return REQUIRED


def _parameters(node: ast.FunctionDef) -> list[Argument]:
    positional = node.args.posonlyargs + node.args.args
    missing = len(positional) - len(node.args.defaults)
    defaults: list[ast.expr | None] = [None] * missing + list(node.args.defaults)
    pairs = list(zip(positional, defaults, strict=True))
    pairs += list(zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True))
    return [
        Argument(arg.arg, ast.unparse(arg.annotation) if arg.annotation else "", _default(value))
        for arg, value in pairs
    ]


def _default(value: ast.expr | None) -> Any:
    if value is None:
        return REQUIRED
    if isinstance(value, ast.Call) and ast.unparse(value.func) in ("field", "dataclasses.field"):
        return _field_default(value)
    try:
        return _plain(ast.literal_eval(value))
    except ValueError:
        return UNKNOWN


def _field_default(call: ast.Call) -> Any:
    for keyword in call.keywords:
        if keyword.arg == "default":
            return _default(keyword.value)
        if keyword.arg == "default_factory":
            body = keyword.value.body if isinstance(keyword.value, ast.Lambda) else None
            return (
                _default(body)
                if body
                else {"list": [], "dict": {}}.get(ast.unparse(keyword.value), UNKNOWN)
            )
    return REQUIRED


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else value


def _inspect(target: str) -> dict[str, Argument]:
    target_object = locate(target)
    return {
        name: Argument(
            name,
            parameter.annotation.__name__ if parameter.annotation in PLAIN else "",
            UNKNOWN if parameter.default is not parameter.empty else REQUIRED,
        )
        for name, parameter in inspect.signature(target_object).parameters.items()
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    }
