"""What trainings were made of, and in which of it they differ."""

import json
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any

from isthmus import safe_reading, schemas

Parameters = dict[str, Any]  # by the names under which they are typed: scheduler, optimizer.lr

GROUPS = [*schemas.SUPPLIED, "hparams"]
SEED = "global_seed"
UNNAMED = schemas.UNNAMED | {"save_predictions", "pretrain.fingerprint"}
OF_AVERAGES = {"averaged", "averaged.decay"}  # models of these have names of their own


def read(folder: Path) -> Parameters:
    """What the run in a folder was made of; of one within a study, that has none told, where it is.

    Args:
        folder: the last of its names may be that of a seed: seed_1.

    Raises:
        OSError, ValueError: a file of it is damaged; with its name.
    """
    files = [folder / ".hydra" / name for name in ("config.yaml", "hydra.yaml")]
    if not all(file.exists() for file in files):
        parts = folder.absolute().parts
        end = len(parts) - parts[-1].startswith("seed_")
        return {"folder": "/".join(parts[max(end - 2, 0) : end])}
    config, hydra = (safe_reading.read_yaml(file) for file in files)
    choices = _within(hydra, files[1], "hydra", "runtime", "choices")
    return {name: choices[name] for name in GROUPS if name in choices} | _flat(config)


def command(folder: Path) -> str | None:
    """The command line that made what is in a folder or below; None where none is kept.

    Raises:
        OSError, ValueError: a file that says it is damaged; with its name.
    """
    kept = [place / ".hydra" for place in (folder, folder.parent, *folder.glob("seed_*"))]
    for place in kept:
        if (place / "hydra.yaml").exists():
            hydra = safe_reading.read_yaml(place / "hydra.yaml")
            script = _within(hydra, place / "hydra.yaml", "hydra", "job").get("name")
            typed = safe_reading.read_yaml_list(place / "overrides.yaml")
            return " ".join(["python", *map(_quoted, [f"{script}.py", *typed])])
    return None


def differing(runs: Sequence[Mapping[str, Any]], without: Set[str] = frozenset()) -> list[str]:
    """Names of the parameters in which runs differ, but for seeds and for how they ran.

    Of a group of which runs have different options, the option is named; its values only if they
    differ among runs of one option.

    Args:
        runs: parameters of each.
        without: names that are not looked at.
    """
    names = dict.fromkeys(name for run in runs for name in run)
    chosen = [name for name in names if name in GROUPS and not _same(runs, name)]
    found = []
    for name in names:
        group, _, rest = name.partition(".")
        if name in without or {name, group} & UNNAMED or rest in _unnamed(group):
            continue
        if name in chosen:
            found.append(name)
        elif group in chosen:
            options = {str(run.get(group)) for run in runs}
            alike = [[run for run in runs if str(run.get(group)) == each] for each in options]
            if not all(_same(some, name) for some in alike):
                found.append(name)
        elif not _same(runs, name):
            found.append(name)
    return found


def words(run: Mapping[str, Any], names: Sequence[str]) -> str:
    """Some parameters of a run as a person would say them: "constant, optimizer.lr=0.1"."""
    return ", ".join(
        str(run[name]) if name in GROUPS else f"{name}={run[name]}" for name in names if name in run
    )


def _within(content: Any, file: Path, *keys: str) -> dict[str, Any]:
    """What lies below some keys of what a file holds."""
    for key in keys:
        content = content.get(key) if isinstance(content, dict) else None
    if not isinstance(content, dict):
        raise ValueError(f"{file}: does not say {'.'.join(keys)}")
    return content


def _flat(values: Mapping[str, Any], prefix: str = "") -> Parameters:
    flat: Parameters = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        elif f"{prefix}{key}" not in GROUPS:  # a group that is off
            flat[f"{prefix}{key}"] = value
    return flat


def _same(runs: Sequence[Mapping[str, Any]], name: str) -> bool:
    return len({json.dumps(run.get(name), default=str) for run in runs}) < 2


def _unnamed(group: str) -> set[str]:
    own = schemas.UNNAMED_IN_PARTS.get(group, set()) | {"_target_", "_partial_"}
    return own | ({"fingerprint"} if group == "dataset" else set())  # of names, not of contents


def _quoted(argument: str) -> str:
    """As one would type it in a shell."""
    is_plain = all(c.isalnum() or c in "@%+=:,./-_~[]" for c in argument)
    return argument if is_plain else "'" + argument.replace("'", "'\"'\"'") + "'"
