"""Errors of what was typed, in words of our own where those of Hydra speak of its insides.

Names of options and of groups' options, flags, and notation: a list with a space, a path with "=".
"""

import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path, get_args_parser
from hydra.core.config_loader import ConfigLoader
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override
from hydra.errors import CompactHydraException, HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from isthmus.config import naming, schema, signatures, suggestions
from isthmus.paths import CONF

TITLE = "This command line cannot run:\n  "
FULL_ERROR = "HYDRA_FULL_ERROR"  # with 1 Hydra raises an error instead of printing it
SHOWS_TRACEBACKS = os.environ.get(FULL_ERROR) == "1"  # as the user has it
NEEDS_QUOTES = re.compile(r"[^\w.+/,:-]")


@contextmanager
def one_message(script: str) -> Iterator[None]:
    """Print an error that the user can correct as one message, without Hydra's lines around it.

    With HYDRA_FULL_ERROR=1, set by the user, the error itself is raised.

    Raises:
        SystemExit: in place of an error of the command line, or of the configuration.
    """
    if SHOWS_TRACEBACKS:
        yield
        return
    if errors := flag_errors(sys.argv[1:]):
        sys.exit(TITLE + "\n  ".join(errors))
    os.environ[FULL_ERROR] = "1"
    try:
        yield
    except (CompactHydraException, OmegaConfBaseException) as error:
        sys.exit(_message(error, script, sys.argv[1:]))
    except AssertionError:  # of Hydra, about a value inside of one that has none
        if errors := command_line_errors(script, *_parse_arguments(sys.argv[1:]), is_refused=True):
            sys.exit(TITLE + "\n  ".join(errors))
        raise
    finally:
        del os.environ[FULL_ERROR]


def flag_errors(arguments: Sequence[str]) -> list[str]:
    """Errors of flags that do not exist, one line each."""
    if not any(argument.startswith("-") for argument in arguments):
        return []
    parser = get_args_parser()
    known = [flag for action in parser._actions for flag in action.option_strings]
    return [
        f"{flag}: no such flag{suggestions.question(suggestions.nearest(flag, known))}"
        for argument in arguments
        for flag in [argument.partition("=")[0]]
        if flag.startswith("--") and not any(each.startswith(flag) for each in known)
    ]


def command_line_errors(
    script: str, overrides: Sequence[str], loader: ConfigLoader, is_refused: bool = False
) -> list[str]:
    """Errors of notation, of names and of groups' options, one line each; empty if there are none.

    Args:
        script: a key of `SCRIPTS`.
        overrides: as typed, without flags.
        loader: of Hydra, that knows all folders of configurations.
        is_refused: whether Hydra has refused them.
    """
    parsed, errors = _parse(overrides)
    names = Names(script, loader)
    errors += [error for override in parsed for error in names.errors(override)]
    return errors + (names.hydra_errors(parsed) if is_refused and not errors else [])


class Names:
    """The names that can be typed for a script.

    Args:
        script: a key of `SCRIPTS`.
        loader: of Hydra.
    """

    def __init__(self, script: str, loader: ConfigLoader) -> None:
        self.script, self.loader = f"{script}.py", loader
        self.cls = signatures.locate(schema.SCRIPTS[script])
        defaults = yaml.safe_load((CONF / f"{script}.yaml").read_text())["defaults"]
        # Groups, "optimizer@pretrain.optimizer" among them.
        self.groups = {key for entry in defaults if isinstance(entry, dict) for key in entry}
        self.groups = {key for key in self.groups if not key.startswith("override ")}

    def errors(self, override: Override) -> list[str]:
        """Errors of the name and of the choices of an override."""
        name, package = str(override.key_or_group), override.package
        full = name if package is None else f"{name}@{package}"
        if name.startswith("hydra."):  # checked by Hydra before anything runs
            return []
        if full in self.groups or (name.startswith("hydra/") and self._choices(name)):
            return self._choice_errors(override, full)
        is_option = package is None and name.partition(".")[0] in naming.typed_fields(self.cls)
        if is_option and not self._choices(name):  # has choices: a group of other scripts
            return []
        return [self._unknown_error(override, full)]

    def hydra_errors(self, overrides: Sequence[Override]) -> list[str]:
        """Errors of names inside `hydra`, such as hydra.launcher.n_job."""
        groups = [each.input_line for each in overrides if "hydra/" in str(each.key_or_group)]
        composed = self.loader.load_configuration(
            self.script.removesuffix(".py"), list(filter(None, groups)), RunMode.RUN
        )
        names = dict.fromkeys(_flat_names(composed.hydra, "hydra."), ())
        return [
            f"{each.input_line}: no such option of Hydra"
            + suggestions.question(suggestions.nearest_options(str(each.key_or_group), names))
            for each in overrides
            if str(each.key_or_group).startswith("hydra.") and each.key_or_group not in names
            if not each.is_add() and not each.is_force_add()
        ]

    def _choices(self, group: str) -> list[str]:
        return self.loader.get_group_options(group, ObjectType.CONFIG)

    def _choice_errors(self, override: Override, full: str) -> list[str]:
        choices = self._choices(str(override.key_or_group))
        if not choices or override.is_delete():
            return []
        values = [override.value()]
        if override.is_sweep_override():
            has_choices = isinstance(values[0], ChoiceSweep)  # no range or glob
            values = list(override.sweep_string_iterator()) if has_choices else []
        elif isinstance(values[0], list):  # several experiments
            values = values[0]
        return [
            f"{full}={value}: no such option of the group; there are {', '.join(choices)}"
            f"{suggestions.question(suggestions.nearest(value, choices))}"
            for value in map(_text, values)
            if value is not None and not _is_file(value) and value not in choices
        ]

    def _unknown_error(self, override: Override, full: str) -> str:
        name = str(override.key_or_group)
        options = suggestions.option_names(self.cls) | dict.fromkeys(self.groups, ())
        if override.package is not None:
            packages = [group for group in self.groups if "@" in group]
            meant = suggestions.nearest(full, packages) or suggestions.nearest(name, packages)
        elif name.startswith("hydra/"):
            groups = self.loader.get_group_options("hydra", ObjectType.GROUP)
            meant = suggestions.nearest(name, (f"hydra/{group}" for group in groups))
        else:
            composed = self.loader.load_configuration(
                self.script.removesuffix(".py"), [], RunMode.RUN
            )
            of_sweeper = [f"hydra.sweeper.{key}" for key in composed.hydra.sweeper]
            meant = suggestions.nearest_options(name, options) or suggestions.nearest_options(
                name, dict.fromkeys(of_sweeper, ())
            )
        text = f"{str(override.input_line).lstrip('+~')}: no such option of {self.script}"
        if meant:
            return text + suggestions.question(meant)
        if scripts := suggestions.scripts_with(full):
            return f"{text}, but of {', '.join(scripts)}"
        return f"{text}, which has {', '.join(naming.typed_fields(self.cls))}"


def _flat_names(node: Any, prefix: str) -> Iterator[str]:
    for key in node:
        yield f"{prefix}{key}"
        if not OmegaConf.is_missing(node, key) and isinstance(node._get_node(key), DictConfig):
            yield from _flat_names(node._get_node(key), f"{prefix}{key}.")


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _is_file(value: str) -> bool:
    """Whether a choice may be a file or an interpolation, which no list of choices has."""
    return value.endswith(".yaml") or "${" in value or "/" in value


def _parse(overrides: Sequence[str]) -> tuple[list[Override], list[str]]:
    """The overrides that can be read, and an error for each of the others."""
    parsed, errors, number = [], [], 0
    while number < len(overrides):
        text, end = overrides[number], number + 1
        try:
            parsed.append(_parse_one(text))
        except HydraException as error:
            end = _end_of_split(overrides, number)
            errors.append(_notation_error(overrides[number:end], str(error)))
        number = end
    return parsed, errors


def _parse_one(text: str) -> Override:
    return OverridesParser.create().parse_overrides([text])[0]


def _can_be_read(text: str) -> bool:
    try:
        _parse_one(text)
    except HydraException:
        return False
    return True


def _end_of_split(overrides: Sequence[str], first: int) -> int:
    """The number after the last part of a value that the shell took apart at its spaces."""
    for end in range(first + 2, len(overrides) + 1):
        if _can_be_read(_join(overrides[first:end])):
            return end
    return first + 1


def _join(parts: Sequence[str]) -> str:
    """Arguments as the one that they were meant to be; "[a b]" is a list as "[a, b]" is."""
    text = parts[0]
    for part in parts[1:]:
        is_between = not text.endswith((",", "[", "(", "{")) and not part.startswith((",", "]"))
        text += f"{',' if is_between else ''}{part}"
    return text


def _notation_error(arguments: Sequence[str], reason: str) -> str:
    """The error of an override that cannot be read.

    Args:
        arguments: the override, in several parts if the shell took it apart.
        reason: as Hydra says it.
    """
    text, joined = " ".join(arguments), _join(arguments)
    name, has_value, value = text.partition("=")
    if not has_value:
        return f"{text}: needs a value, {text}=..."
    if _can_be_read(joined):
        return f"{text}: has spaces, at which the shell takes it apart: '{joined}'"
    if any(value.count(a) != value.count(b) for a, b in ("[]", "{}", "()")):
        return f"{text}: has a bracket without its other one"
    quoted = f'{name}="{value}"'
    if NEEDS_QUOTES.search(value) and _can_be_read(quoted):
        return f"{text}: has characters with a meaning of their own; quote it: '{quoted}'"
    return f"{text}: cannot be read: {reason.splitlines()[0]}"


def _parse_arguments(arguments: Sequence[str]) -> tuple[list[str], ConfigLoader]:
    """The overrides among arguments, and a loader of the configurations that these see."""
    flags = get_args_parser().parse_known_args(list(arguments))[0]
    path = create_config_search_path(str(CONF))
    if flags.config_dir:
        path.prepend("command-line", f"file://{Path(flags.config_dir).absolute()}")
    return flags.overrides, ConfigLoaderImpl(path)


def _message(error: Exception, script: str, arguments: Sequence[str]) -> str:
    """What to print for an error, which is of the command line where that has some of its own."""
    overrides, loader = _parse_arguments(arguments)
    if errors := command_line_errors(script, overrides, loader, is_refused=True):
        return TITLE + "\n  ".join(errors)
    sweeps = [each for each in _parse(overrides)[0] if each.is_sweep_override()]
    if "Ambiguous value" in str(error) and sweeps:  # Hydra's, of several values without --multirun
        return TITLE + "\n  ".join(
            f"{each.input_line}: has several values; --multirun runs {script}.py with each of them"
            for each in sweeps
        )
    lines = [str(error)]
    if isinstance(error.__cause__, OmegaConfBaseException):
        lines += str(error.__cause__).splitlines()[:1]
    return "\n".join(lines)
