"""Names of runs: what a run computes, as ten hexadecimal digits."""

import hashlib
import json
import re
from collections.abc import Iterator
from typing import Any

from isthmus import checks, schemas, signatures
from isthmus.signatures import Argument

TITLED = ("dataset", "model", "optimizer", "scheduler", "averaged")  # in a title, in this order
UNTITLED = {"fingerprint", "mean", "std", "cache_dir", "root"}
LONGEST = 160  # letters of a title


def run_name(values: dict[str, Any], schema: str) -> str:
    """Ten hexadecimal digits of the canonical text of `identity`."""
    return _digest(identity(values, schema))


def title(values: dict[str, Any]) -> str:
    """What a training is in words that can be a folder's name: "Digits_MLP-width64_sgd-lr0.1_...".

    Parts by their names, with the values that are not their defaults.

    Args:
        values: of a training, as plain Python; without any there are no words.
    """
    words = []
    for group in TITLED:
        named = part(group, values.get(group))
        target = str(named.pop("_target_", "")).rpartition(".")[2]
        own = [f"{key}{_word(value)}" for key, value in named.items() if key not in UNTITLED]
        words += ["-".join([target, *own])] if target else []
    lengths = values.get("hparams") or {}
    others = _unlike_default(lengths, checks.fields("Hparams")) if lengths else {}
    words += [f"{key}{_word(value)}" for key, value in others.items()]
    return re.sub(r"[^\w.+-]", "", "_".join(words))[:LONGEST]


def _word(value: Any) -> str:
    return "-".join(map(str, value)) if isinstance(value, list) else str(value)


def section_name(values: dict[str, Any], schema: str, section: str) -> str:
    """Ten hexadecimal digits of what one section of a configuration says."""
    return _digest(_identity_of(values, schema, section))


def section_words(values: dict[str, Any], schema: str, section: str) -> str:
    """The values of one section that are not their defaults, as one would type them."""
    return " ".join(_typed(_identity_of(values, schema, section)))


def _identity_of(values: dict[str, Any], schema: str, section: str) -> dict[str, Any]:
    known = checks.section(checks.fields(schema)[section]) or {}
    return _section(section, values[section], known)


def _typed(content: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in content.items():
        if isinstance(value, dict):
            yield from _typed(value, f"{prefix}{key}.")
        else:
            text = f"[{','.join(map(str, value))}]" if isinstance(value, list) else value
            yield f"{prefix}{key}={text}"


def _digest(content: dict[str, Any]) -> str:
    text = json.dumps(_canonical(content), sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=5).hexdigest()


def clustering_name(extraction: dict[str, Any]) -> str:
    """Ten hexadecimal digits of what becomes of trained students: gamma, beta and the like.

    Args:
        extraction: that section of the configuration of `extract.py`.
    """
    chosen = {key: extraction[key] for key in schemas.CLUSTERING}
    return _digest(_unlike_default(chosen, checks.fields("Extraction")))


def study_name(
    values: dict[str, Any], space: dict[str, str], sampler: dict[str, Any] | None = None
) -> str:
    """Ten hexadecimal digits of what a study of `tune.py` searches, how, and of all that is fixed.

    Args:
        values: the configuration of `tune.py`, whose searched values do not count.
        space: what is searched, by the full name of the option.
        sampler: its target and the values that are not its defaults; None for the default one.
    """
    named = identity(values, "Tune")
    for name in space:
        group, _, key = name.partition(".")
        if not key:
            named.pop(group, None)
        elif isinstance(named.get(group), dict):
            named[group] = {k: v for k, v in named[group].items() if k != key}
    return _digest({**named, "search": space, **({"sampler": sampler} if sampler else {})})


def identity(values: dict[str, Any], schema: str) -> dict[str, Any]:
    """What a run is named by: every value that changes its result and is not its default.

    And the version of the script's results. Our own parts stand by the names of their classes, so
    that moving a module renames no run.

    Defaults are those of the code (the signature of each `_target_`, the schemas), not those of
    the YAML files: editing a file changes the name, adding an option to the code does not.

    Args:
        values: the configuration as plain Python, interpolations resolved.
        schema: name of the script's schema, such as "Train".
    """
    named: dict[str, Any] = {}
    if schema in schemas.RESULTS:
        named["results"] = schemas.RESULTS[schema]
    for key, argument in checks.fields(schema).items():
        if key in schemas.UNNAMED | schemas.REQUESTS.get(schema, set()):
            continue
        value, nested = values.get(key), checks.section(argument)
        if key in schemas.SUPPLIED:
            value = part(key, value)
        elif nested is not None and isinstance(value, dict):
            value = _section(key, value, nested)
        elif (value := _unordered(key, value)) == _unordered(key, argument.default):
            continue
        if value != {}:
            named[key] = value
    return named


def part(group: str, node: Any) -> dict[str, Any]:
    """A part by its target and the arguments that are not their defaults; {} if it is off.

    A data set without a target is the one saved with the weights, with the values given here.
    """
    if not isinstance(node, dict) or ("_target_" not in node and group != "dataset"):
        return {}
    target = full_target(group, node)
    try:
        known = signatures.arguments(target) | checks.common(group)
    except (LookupError, ImportError):  # the check will say so
        known = {}
    unnamed = schemas.UNNAMED_IN_PARTS.get(group, set()) | {"_partial_"}
    given = {key: value for key, value in node.items() if key not in unnamed}
    return _unlike_default(_with_short_names(given), known)


def full_target(group: str, node: dict[str, Any]) -> str:
    """The dotpath of a part, whichever way it stands in a file; "None" where it has no target."""
    return signatures.full_target(schemas.PACKAGES[group], str(node.get("_target_")))


def _with_short_names(value: Any) -> Any:
    """A node, and all within it, with short names of targets."""
    if isinstance(value, list):
        return [_with_short_names(item) for item in value]
    if not isinstance(value, dict):
        return value
    named = {key: _with_short_names(item) for key, item in value.items()}
    if isinstance(named.get("_target_"), str):
        named["_target_"] = signatures.short_name(named["_target_"])
    return named


def lasting(values: dict[str, Any]) -> dict[str, Any]:
    """The values of a training that hold wherever and however a job runs."""
    gone = {"runtime", "output_dir", "snapshots"}
    found = {key: value for key, value in values.items() if key not in gone}
    unnamed = schemas.UNNAMED_IN_PARTS["dataset"]
    found["dataset"] = {k: v for k, v in values["dataset"].items() if k not in unnamed}
    return _with_short_names(found)


def _section(name: str, values: dict[str, Any], known: dict[str, Argument]) -> dict[str, Any]:
    """A group of values without a target, some of which may be parts."""
    unnamed = schemas.UNNAMED_IN_PARTS.get(name, set())
    named = {}
    for key, value in values.items():
        if key not in unnamed:
            is_part = isinstance(value, dict) and (key == "dataset" or "_target_" in value)
            named[key] = part(key, value) if is_part else value
    return {k: v for k, v in _unlike_default(named, known).items() if v != {}}  # {}: it is off


def _unlike_default(given: dict, known: dict[str, Argument]) -> dict[str, Any]:
    given = {key: _unordered(key, value) for key, value in given.items()}
    return {
        key: value
        for key, value in given.items()
        if key not in known or _unordered(key, known[key].default) != value
    }


def _unordered(key: str, value: Any) -> Any:
    """A value in the order that is its name's, if its own says nothing."""
    return sorted(value) if key in schemas.SETS and isinstance(value, list) else value


def _canonical(value: Any) -> Any:
    """One form for equal numbers, so that lr=1 and lr=1.0 are one run."""
    if isinstance(value, dict):
        return {key: _canonical(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_canonical(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
