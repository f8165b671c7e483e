"""Names that may have been meant where an option, a group's option or a flag is unknown."""

from collections.abc import Iterable, Mapping
from difflib import SequenceMatcher
from pathlib import Path

import yaml

from isthmus.config import schema, signatures
from isthmus.config.parts import GROUPS
from isthmus.config.schema import Section
from isthmus.paths import CONF

MOST = 3  # names in one suggestion
ALIKE = 0.66  # least similarity of a name, or of its last component
CLOSE = 0.1  # largest difference in similarity of two suggestions
WORDS = {"learning_rate": "lr", "wd": "weight_decay"}  # what others call an option


def nearest(name: str, names: Iterable[str]) -> list[str]:
    """The names that a mistyped one is most like, at most 3, the best first."""
    scores = {each: _likeness(name.lower(), each.lower()) for each in names}
    best = max(scores.values(), default=0)
    alike = [each for each, score in scores.items() if score >= max(ALIKE, best - CLOSE)]
    return sorted(alike, key=lambda each: (-scores[each], each))[:MOST]


def nearest_options(name: str, options: Mapping[str, tuple[str, ...]]) -> list[str]:
    """The full names of options that a mistyped one may mean, at most 3, the best first.

    Those of the same last component, as `extraction.gamma` for `gamma`, come before those that are
    spelt alike.

    Args:
        name: as typed.
        options: further words for each, by full name, see `option_names`.
    """
    last = WORDS.get(_last(name), _last(name))
    section = name.rpartition(".")[0]
    inside = {_last(full): full for full in options if full.rpartition(".")[0] == section}
    called = [full for full, words in options.items() if last in words]
    beside = [inside[word] for word in nearest(last, inside)]  # at the top, if there is no section
    same = [full for full in options if last == _last(full)]
    same.sort(key=lambda full: (-_likeness(name, full), full))
    meant = list(dict.fromkeys(full for full in [*called, *beside, *same] if full != name))
    others = [full for full in options if full not in inside.values()]
    if meant or (meant := nearest(name, others)):
        return meant[:MOST]
    words = nearest(last, map(_last, options))
    return [full for full in options if _last(full) in words[:1]][:MOST]


def question(names: Iterable[str]) -> str:
    """The end of a message that suggests names: "; did you mean a or b?"; "" if there are none."""
    listed = list(names)
    return f"; did you mean {' or '.join(listed)}?" if listed else ""


def option_names(cls: type[Section]) -> dict[str, tuple[str, ...]]:
    """Full names of all that can be typed for an options class, with further words for each.

    Of a part, the arguments of every option of its group; of one inside a section, its name alone.
    """
    options: dict[str, tuple[str, ...]] = {}
    for name, argument in schema.fields(cls).items():
        if argument.metadata.get("is_derived"):
            continue
        options[name] = argument.metadata.get("aliases", ())
        if nested := schema.section_class(argument):
            for key, inner in schema.fields(nested).items():
                options[f"{name}.{key}"] = inner.metadata.get("aliases", ())
        elif schema.is_part(argument):
            options |= {f"{name}.{key}": () for key in _part_arguments(name)}
    return options


def scripts_with(name: str) -> list[str]:
    """The scripts that have an option of a name, as typed: "eval.py"."""
    return [
        f"{script}.py"
        for script, target in schema.SCRIPTS.items()
        if name.partition(".")[0] in schema.fields(signatures.locate(target))
    ]


def _part_arguments(group: str) -> set[str]:
    names = {*schema.common_fields(group)}
    for path in sorted((CONF / group).glob("*.yaml")):
        node = yaml.safe_load(Path(path).read_text()) or {}
        target = str(node.get("_target_", ""))
        if signatures.is_defined(target):
            names |= {*list(signatures.arguments(target))[GROUPS[group].num_supplied :]}
    return names


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def _likeness(one: str, other: str) -> float:
    return SequenceMatcher(None, one, other).ratio()
