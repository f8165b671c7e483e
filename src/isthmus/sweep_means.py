"""Means over seeds of the results of a sweep, as a table on disk and as text."""

import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from isthmus import tables
from isthmus.vocabulary import BESTS

TABLE = "means.csv"  # beside the ledger
COLUMNS = ("result", "num_seeds", "mean", "std")  # after those of the settings
SHOWN = ("plain", "averaged", *BESTS)  # models of trainings in the text
MAIN = 4  # results of one run, in its line
MOST = 8  # columns of other results in the text

Results: TypeAlias = dict[str, float]  # by name, such as "plain test accuracy"


def is_seed(option: str) -> bool:
    """Whether an option is a seed, which tells repetitions from each other."""
    return option == "global_seed" or option.startswith("seeds.")


def group_settings(
    jobs: Sequence[tuple[Mapping[str, str], Results]], varied: Sequence[str]
) -> dict[tuple[str, ...], list[Results]]:
    """Results of jobs by their settings, in the order of the jobs.

    Args:
        jobs: typed values by option, and results, of each.
        varied: options that tell settings from each other.
    """
    groups: dict[tuple[str, ...], list[Results]] = {}
    for values, results in jobs:
        groups.setdefault(tuple(values.get(name, "") for name in varied), []).append(results)
    return groups


def write_means(
    folder: Path, varied: Sequence[str], groups: Mapping[tuple[str, ...], Sequence[Results]]
) -> None:
    """Write one row per setting and result: mean and standard deviation of a sample.

    Args:
        folder: of the sweep.
        varied: names of the settings.
        groups: results of repetitions, by setting.
    """
    rows = [
        (*setting, name, len(values), statistics.fmean(values), _std(values))
        for setting, repetitions in groups.items()
        for name in _names(repetitions)
        for values in [[results[name] for results in repetitions if name in results]]
    ]
    tables.write(folder / TABLE, (*varied, *COLUMNS), rows)


def summarize_means(
    varied: Sequence[str], groups: Mapping[tuple[str, ...], Sequence[Results]]
) -> str:
    """The means and standard deviations over seeds, one line per setting.

    Of trainings the accuracy on the test split, else the validation or training split, or the loss.

    Args:
        varied: names of the settings.
        groups: results of repetitions, by setting.
    """
    names = _names([results for repetitions in groups.values() for results in repetitions])
    title, columns = _choose_columns(names)
    lines = [[*varied, "seeds", *columns]]
    for setting, repetitions in groups.items():
        cells = [
            _cell([results[name] for results in repetitions if name in results])
            for name in columns.values()
        ]
        lines.append([*setting, str(len(repetitions)), *cells])
    return "\n".join(
        [f"{title}means +- standard deviations over seeds", *tables.align_columns(lines)]
    )


def summarize_results(results: Results) -> str:
    """The main results of one run in a few words."""
    title, columns = _choose_columns(list(results))
    numbers = [f"{column} {results[name]:.4g}" for column, name in list(columns.items())[:MAIN]]
    return title + ", ".join(numbers)


def _names(repetitions: Sequence[Results]) -> list[str]:
    return list(dict.fromkeys(name for results in repetitions for name in results))


def _choose_columns(names: Sequence[str]) -> tuple[str, dict[str, str]]:
    """The beginning of the title, and the names of the shown results by their columns."""
    for measure in ("accuracy", "loss"):
        for split in ("test", "val", "train"):
            ending = f" {split} {measure}"
            columns = {model: model + ending for model in SHOWN if model + ending in names}
            if columns:
                return f"{ending.strip()}, ", columns
    return "", {name: name for name in names[:MOST]}


def _cell(values: Sequence[float]) -> str:
    if not values:
        return ""
    mean, std = statistics.fmean(values), _std(values)
    return f"{mean:.4g}" if std is None else f"{mean:.4f} +- {std:.4f}"


def _std(values: Sequence[float]) -> float | None:
    """Standard deviation of a sample; None for a single value."""
    if len(values) < 2:
        return None
    return statistics.stdev(values) if all(map(math.isfinite, values)) else math.nan
