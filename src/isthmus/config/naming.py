"""Names of runs, digests of the options that change a result; and the mode of a script."""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from isthmus.config import schema as config_schema
from isthmus.config import signatures, validation
from isthmus.config.signatures import Argument
from isthmus.store import fingerprints

REQUIRED = {"start", "end", "plane"}


def choose_mode(schema: str, values: Mapping[str, Any]) -> str:
    """The schema of a script's mode; of a script with one mode, its own.

    The last mode whose options have a value; the first if none has.
    """
    modes = config_schema.MODES.get(schema, {schema: ()})
    typed_modes = [
        mode
        for mode, options in modes.items()
        if any(values.get(option) not in (None, "???") for option in options)
    ]
    return [*list(modes)[:1], *typed_modes][-1]


def is_of_saved(schema: str) -> bool:
    """Whether a schema is of saved weights, whose metadata name model and data set."""
    return "contents" in validation.fields(schema)


def values_of_saved(values: dict[str, Any], schema: str, typed: Sequence[str]) -> dict[str, Any]:
    """Options for saved weights, from those of a script that also takes a training.

    Data set and precision are those in the weights' metadata, unless they were typed.

    Args:
        values: of the script, as plain Python.
        schema: of the mode, see `choose_mode`.
        typed: names of the options on the command line, such as "dataset.root".
    """
    options = {key: values[key] for key in validation.fields(schema) if key in values}
    for option in REQUIRED & options.keys():
        options[option] = "???" if options[option] is None else options[option]
    if "runtime" in options and "runtime.num_jobs" not in typed:  # of branches; refused if typed
        options["runtime"] = {k: v for k, v in options["runtime"].items() if k != "num_jobs"}
    if "dataset" not in typed:
        node = options["dataset"] or {}
        named = [name.removeprefix("dataset.") for name in typed if name.startswith("dataset.")]
        options["dataset"] = {key: node[key] for key in ("root", *named) if key in node}
    if "precision" not in typed:
        options["precision"] = None
    files = [values.get("start"), values.get("end"), *(values.get("plane") or [])]
    options["contents"] = [
        str(fingerprints.file_digest(file)) for file in files if isinstance(file, str)
    ]
    return options


def typed_dataset_values(typed: Sequence[str]) -> list[str]:
    """Names of the typed values of another data set, sorted; empty if no other one was typed.

    The other values are in the weights' metadata if they were trained on a data set of this kind.

    Args:
        typed: names of the options on the command line, such as "dataset.mean".
    """
    if "dataset" not in typed:
        return []
    options = {name.removeprefix("dataset.") for name in typed if name.startswith("dataset.")}
    return sorted(options - config_schema.UNNAMED_IN_PARTS["dataset"])


def options_of_other_mode(schema: str, script: str, typed: Iterable[str]) -> list[str]:
    """Errors for options on the command line that belong to another mode.

    Args:
        schema: of the mode, see `choose_mode`.
        script: the schema of the whole script.
        typed: names of the options on the command line.
    """
    known, errors = validation.fields(schema), []
    for name in dict.fromkeys(option.partition(".")[0] for option in typed):
        if name in validation.fields(script) and name not in known:
            options = " and ".join(config_schema.MODES[script][schema])
            takes = ", ".join(key for key in known if key not in config_schema.DERIVED)
            errors.append(f"{name}: not with {options}, which takes {takes}")
    return errors


def missing_mode(values: Mapping[str, Any], script: str) -> list[str]:
    """The error that no option selects a mode, or none."""
    modes = config_schema.MODES.get(script, {})
    options = [option for each in modes.values() for option in each]
    if not modes or any(values.get(option) not in (None, "???") for option in options):
        return []
    usages = [" and ".join(f"{option}=..." for option in each) for each in modes.values()]
    return [f"{', or '.join(usages)} says what to do; --help says what each means"]


TITLED = ("dataset", "model", "optimizer", "scheduler", "averaged")  # in a title, in this order
UNTITLED = {"fingerprint", "mean", "std", "cache_dir", "root"}
LONGEST = 160  # letters of a title


def run_name(values: dict[str, Any], schema: str) -> str:
    """Ten hexadecimal digits of the canonical text of `identity`."""
    return _digest(identity(values, schema))


def title(values: dict[str, Any]) -> str:
    """Readable title of a training, usable as a folder name: "Digits_MLP-width64_sgd-lr0.1_...".

    Parts by their names, with the values that are not their defaults.

    Args:
        values: of a training, as plain Python; may be empty.
    """
    words = []
    for group in TITLED:
        named = part_identity(group, values.get(group))
        target = str(named.pop("_target_", "")).rpartition(".")[2]
        settings = [f"{key}{_word(value)}" for key, value in named.items() if key not in UNTITLED]
        words += ["-".join([target, *settings])] if target else []
    lengths = values.get("hparams") or {}
    others = _non_defaults(lengths, validation.fields("Hparams")) if lengths else {}
    words += [f"{key}{_word(value)}" for key, value in others.items()]
    return re.sub(r"[^\w.+-]", "", "_".join(words))[:LONGEST]


def _word(value: Any) -> str:
    return "-".join(map(str, value)) if isinstance(value, list) else str(value)


def section_name(values: dict[str, Any], schema: str, section: str) -> str:
    """Ten hexadecimal digits that name one section of a configuration."""
    return _digest(_section_identity(values, schema, section))


def section_words(values: dict[str, Any], schema: str, section: str) -> str:
    """The values of one section that are not their defaults, as typed on a command line."""
    return " ".join(_arguments(_section_identity(values, schema, section)))


def _section_identity(values: dict[str, Any], schema: str, section: str) -> dict[str, Any]:
    fields = validation.nested_fields(validation.fields(schema)[section]) or {}
    return _section(section, values[section], fields)


def _arguments(content: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in content.items():
        if isinstance(value, dict):
            yield from _arguments(value, f"{prefix}{key}.")
        else:
            text = f"[{','.join(map(str, value))}]" if isinstance(value, list) else value
            yield f"{prefix}{key}={text}"


def _digest(content: dict[str, Any]) -> str:
    text = json.dumps(_canonical(content), sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=5).hexdigest()


def clustering_name(extraction: dict[str, Any]) -> str:
    """Ten hexadecimal digits that name how trained students are clustered: gamma, beta, mask, ...

    Args:
        extraction: that section of the configuration of `extract.py`.
    """
    chosen = {key: extraction[key] for key in config_schema.CLUSTERING}
    return _digest(_non_defaults(chosen, validation.fields("Extraction")))


def study_name(
    values: dict[str, Any], space: dict[str, str], sampler: dict[str, Any] | None = None
) -> str:
    """Ten hexadecimal digits that name a search of `tune.py`: options, sampler and fixed values.

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
    """The content of a run's name: every value that changes its result and is not its default.

    And the version of the script's results. Parts of `isthmus` are named by their class, so that
    moving a module renames no run.

    Defaults are those of the code (the signature of each `_target_`, the schemas), not those of
    the YAML files: editing a file changes the name, adding an option to the code does not.

    Args:
        values: the configuration as plain Python, interpolations resolved.
        schema: name of the script's schema, such as "Train".
    """
    named: dict[str, Any] = {}
    if schema in config_schema.RESULTS:
        named["results"] = config_schema.RESULTS[schema]
    for key, argument in validation.fields(schema).items():
        if key in config_schema.UNNAMED | config_schema.REQUESTS.get(schema, set()):
            continue
        value, nested = values.get(key), validation.nested_fields(argument)
        if key in config_schema.SUPPLIED:
            value = part_identity(key, value)
        elif nested is not None and isinstance(value, dict):
            value = _section(key, value, nested)
        elif (value := _sort_if_set(key, value)) == _sort_if_set(key, argument.default):
            continue
        if value != {}:
            named[key] = value
    return named


def part_identity(group: str, node: Any) -> dict[str, Any]:
    """A part by its target and the arguments that are not their defaults; {} if it is off.

    A data set without a target is the one saved with the weights, with the values of the node.
    """
    if not isinstance(node, dict) or ("_target_" not in node and group != "dataset"):
        return {}
    target = full_target(group, node)
    try:
        fields = signatures.arguments(target) | validation.common_fields(group)
    except (LookupError, ImportError):  # the check will say so
        fields = {}
    unnamed = config_schema.UNNAMED_IN_PARTS.get(group, set()) | {"_partial_"}
    values = {key: value for key, value in node.items() if key not in unnamed}
    return _non_defaults(_with_short_names(values), fields)


def full_target(group: str, node: dict[str, Any]) -> str:
    """The dotpath of a part, in whichever form its file has it; "None" if it has no target."""
    return signatures.full_target(config_schema.PACKAGES[group], str(node.get("_target_")))


def _with_short_names(value: Any) -> Any:
    """A node, and all nodes inside it, with short names of targets."""
    if isinstance(value, list):
        return [_with_short_names(item) for item in value]
    if not isinstance(value, dict):
        return value
    named = {key: _with_short_names(item) for key, item in value.items()}
    if isinstance(named.get("_target_"), str):
        named["_target_"] = signatures.short_name(named["_target_"])
    return named


def reproducible_config(values: dict[str, Any]) -> dict[str, Any]:
    """The options of a training without those that say where and how a job runs."""
    dropped = {"runtime", "output_dir", "snapshots"}
    config = {key: value for key, value in values.items() if key not in dropped}
    unnamed = config_schema.UNNAMED_IN_PARTS["dataset"]
    config["dataset"] = {k: v for k, v in values["dataset"].items() if k not in unnamed}
    return _with_short_names(config)


def _section(name: str, values: dict[str, Any], fields: dict[str, Argument]) -> dict[str, Any]:
    """A group of values without a target, some of which may be parts."""
    unnamed = config_schema.UNNAMED_IN_PARTS.get(name, set())
    named = {}
    for key, value in values.items():
        if key not in unnamed:
            is_part = isinstance(value, dict) and (key == "dataset" or "_target_" in value)
            named[key] = part_identity(key, value) if is_part else value
    return {k: v for k, v in _non_defaults(named, fields).items() if v != {}}  # {}: it is off


def _non_defaults(values: dict, fields: dict[str, Argument]) -> dict[str, Any]:
    values = {key: _sort_if_set(key, value) for key, value in values.items()}
    return {
        key: value
        for key, value in values.items()
        if key not in fields or _sort_if_set(key, fields[key].default) != value
    }


def _sort_if_set(key: str, value: Any) -> Any:
    """A list sorted, if its order has no meaning; any other value as it is."""
    return sorted(value) if key in config_schema.SETS and isinstance(value, list) else value


def _canonical(value: Any) -> Any:
    """One form for equal numbers, so that lr=1 and lr=1.0 are one run."""
    if isinstance(value, dict):
        return {key: _canonical(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_canonical(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
