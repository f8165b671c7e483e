"""What a script is to do, if it can do one of several things: told from what was typed.

`interpolate.py` goes from a main branch to its children, between two saved networks, or through the
plane of three. Each has a schema of its own, by which its options are checked and its run is named.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from isthmus import checks, fingerprints, schemas

REQUIRED = {"start", "end", "plane"}


def chosen(schema: str, values: Mapping[str, Any]) -> str:
    """The schema of what is to be done; of a script that does one thing, its own.

    The last one whose options have a value; the first if none has.
    """
    modes = schemas.MODES.get(schema, {schema: ()})
    given = [
        mode
        for mode, options in modes.items()
        if any(values.get(option) not in (None, "???") for option in options)
    ]
    return [*list(modes)[:1], *given][-1]


def is_of_saved(schema: str) -> bool:
    """Whether the weights themselves say of which model they are, and what they were trained on."""
    return "contents" in checks.fields(schema)


def of_saved(values: dict[str, Any], schema: str, typed: Sequence[str]) -> dict[str, Any]:
    """Values of a script that takes a training, as one that takes saved weights.

    The weights say what they were trained on and how precisely, unless it was typed.

    Args:
        values: of the script, as plain Python.
        schema: `chosen`.
        typed: names of the options on the command line, such as "dataset.root".
    """
    own = {key: values[key] for key in checks.fields(schema) if key in values}
    for option in REQUIRED & own.keys():
        own[option] = "???" if own[option] is None else own[option]
    if "runtime" in own and "runtime.num_jobs" not in typed:  # of branches; refused if typed
        own["runtime"] = {key: v for key, v in own["runtime"].items() if key != "num_jobs"}
    if "dataset" not in typed:
        node = own["dataset"] or {}
        named = [name.removeprefix("dataset.") for name in typed if name.startswith("dataset.")]
        own["dataset"] = {key: node[key] for key in ("root", *named) if key in node}
    if "precision" not in typed:
        own["precision"] = None
    files = [values.get("start"), values.get("end"), *(values.get("plane") or [])]
    own["contents"] = [str(fingerprints.file(file)) for file in files if isinstance(file, str)]
    return own


def typed_of_dataset(typed: Sequence[str]) -> list[str]:
    """Which values of another data set were typed, sorted; none if no other one was named.

    The weights say the others if they were trained on a data set of the same kind.

    Args:
        typed: names of the options on the command line, such as "dataset.mean".
    """
    if "dataset" not in typed:
        return []
    options = {name.removeprefix("dataset.") for name in typed if name.startswith("dataset.")}
    return sorted(options - schemas.UNNAMED_IN_PARTS["dataset"])


def strangers(schema: str, script: str, typed: Iterable[str]) -> list[str]:
    """What is wrong with options on the command line that are not for what is to be done.

    Args:
        schema: `chosen`.
        script: the schema of the whole script.
        typed: names of the options on the command line.
    """
    known, errors = checks.fields(schema), []
    for name in dict.fromkeys(option.partition(".")[0] for option in typed):
        if name in checks.fields(script) and name not in known:
            options = " and ".join(schemas.MODES[script][schema])
            takes = ", ".join(key for key in known if key not in schemas.DERIVED)
            errors.append(f"{name}: not with {options}, which takes {takes}")
    return errors


def undecided(values: Mapping[str, Any], script: str) -> list[str]:
    """What is wrong if nothing says what is to be done."""
    modes = schemas.MODES.get(script, {})
    options = [option for each in modes.values() for option in each]
    if not modes or any(values.get(option) not in (None, "???") for option in options):
        return []
    words = [" and ".join(f"{option}=..." for option in each) for each in modes.values()]
    return [f"{', or '.join(words)} says what to do; --help says what each means"]
