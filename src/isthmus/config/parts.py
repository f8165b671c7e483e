"""Parts of a training that are chosen by name: data set, model, optimizer, ...: their groups."""

import dataclasses
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from isthmus.config import signatures


@dataclass(frozen=True)
class Group:
    """A group of parts, in conf/<group>/.

    Args:
        package: of `isthmus`, that has the parts.
        num_supplied: arguments that the code supplies, first and by position.
        common: dotpath of the options that every part has besides its own arguments, if any.
        unnamed: arguments that say where files are: not in the names of runs.
    """

    package: str
    num_supplied: int = 0
    common: str | None = None
    unnamed: frozenset[str] = frozenset()


GROUPS = {
    "dataset": Group("data", unnamed=frozenset({"root", "cache_dir"})),
    "model": Group("models", 2, common="isthmus.training.options.ModelOptions"),
    "optimizer": Group("training", 1),
    "scheduler": Group("training", 2),
    "averaged": Group("averaging"),
    "parametrization": Group("widths"),
    "pruning": Group("pruning"),
}


@dataclass(frozen=True)
class Part:
    """A part of a group: what makes it, and with which arguments.

    Args:
        group: such as "optimizer".
        target: dotpath of a class or function, as in its YAML file; None in a section where it is
            that of the training.
        arguments: as typed, with the common options of its group.
    """

    group: str
    target: str | None
    arguments: dict[str, Any] = field(default_factory=dict)

    def node(self) -> dict[str, Any]:
        """The part as in a configuration."""
        target = {} if self.target is None else {"_target_": self.target}
        return target | self.arguments

    def full_target(self) -> str:
        """The dotpath of what makes it; "None" if it has no target."""
        return signatures.full_target(GROUPS[self.group].package, str(self.target))

    def maker(self) -> Callable[..., Any]:
        """A function that makes the part from the arguments that the code supplies.

        Raises (when called):
            ValueError: the part refuses a value; its message is led by the option's full name.
        """
        common = GROUPS[self.group].common
        options = dataclasses.fields(signatures.locate(common)) if common else ()
        left_out = {"_partial_", *(option.name for option in options)}
        arguments = {k: v for k, v in self.arguments.items() if k not in left_out}
        make_part = partial(signatures.locate(self.full_target()), **arguments)

        def make(*supplied: Any) -> Any:
            with prefix_errors(self.group):
                return make_part(*supplied)

        return make

    def changed_by(self, other: "Part | None", kept: frozenset[str] = frozenset()) -> "Part":
        """This part with the values of another one, or the other one if it has a target.

        Args:
            other: of the same group; None changes nothing.
            kept: arguments of this part that the other one takes over where it has no value.
        """
        if other is None:
            return self
        if other.target is None:
            return replace(self, arguments=self.arguments | other.arguments)
        try:
            takes = signatures.arguments(other.full_target())
        except (LookupError, ImportError):  # validation will say so
            return other
        shared = {
            key: self.arguments[key]
            for key in kept
            if key in self.arguments and key in takes and other.arguments.get(key) is None
        }
        return replace(other, arguments=other.arguments | shared)


@contextmanager
def prefix_errors(group: str) -> Iterator[None]:
    """Put the group of an option before the error of a part.

    Raises:
        ValueError: in place of one worded "option: what is wrong", or "option=value: ...".
    """
    try:
        yield
    except ValueError as error:
        if re.match(r"[a-z_]+(=[^ ]*)?: ", str(error)):
            raise ValueError(f"{group}.{error}") from error
        raise


def load_data(part: Part, label_noise_seed: int) -> Any:
    """Read the data set of a part, with label noise of a seed."""
    with prefix_errors("dataset"):
        return part.maker()().load(label_noise_seed)
