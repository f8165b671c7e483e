"""Selects runs by the values of their options."""

import difflib
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from isthmus.config.signatures import format_value
from isthmus.plots.folders import Folder
from isthmus.plots.runs import Parameters, differing_settings, read_settings, record_folder

log = logging.getLogger(__name__)

SHOWN = 12  # values in a message


def select_runs(folders: Sequence[Folder], where: Mapping[str, Any]) -> list[Folder]:
    """The folders of runs that have all of some values.

    Args:
        folders: by `folders.find_folders`; those that record no options are left out, and damaged
            ones too, which is logged.
        where: value by the name under which it is typed, such as optimizer.lr or scheduler; a list
            stands for each of its values. A run whose own value is a list has each of its members.

    Raises:
        ValueError: no run has an option of a name, or none has all values.
    """
    settings: list[tuple[Folder, Parameters]] = []
    for folder in folders:
        record = record_folder(folder.path)
        try:
            settings.append((folder, {} if record is None else read_settings(record)))
        except (ValueError, OSError) as error:
            log.warning("left out: %s", error)
    for name, value in where.items():
        values = [run[name] for _, run in settings if name in run]
        typed = f"where={format_value({name: value})}"
        if not values:
            known = dict.fromkeys(name for _, run in settings for name in run)
            near = difflib.get_close_matches(name, known, n=3)
            near += [each for each in known if each.endswith(f".{name}") and each not in near]
            differ = near or differing_settings([run for _, run in settings]) or list(known)
            raise ValueError(f"{typed}: no run has that option; there are {', '.join(differ)}")
        if not any(has_value(each, value) for each in values):
            shown = list(dict.fromkeys(format_value(each) for each in values))
            end = ", ..." if len(shown) > SHOWN else ""
            raise ValueError(f"{typed}: the runs have {', '.join(shown[:SHOWN])}{end}")
    chosen = [
        folder
        for folder, run in settings
        if all(name in run and has_value(run[name], value) for name, value in where.items())
    ]
    if not chosen:
        raise ValueError(f"where={format_value(dict(where))}: no run has all of these values")
    return chosen


def has_value(value: Any, wanted: Any) -> bool:
    """Whether the value of a run is the wanted one, or has it, or is one of several wanted ones."""
    if value == wanted or str(value) == str(wanted):
        return True
    if isinstance(wanted, list):
        return any(has_value(value, each) for each in wanted)
    return isinstance(value, list) and any(has_value(each, wanted) for each in value)
