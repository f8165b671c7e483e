"""The jobs of a sweep as tables: what each was given, and what came of it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from isthmus import safe_reading

NAMES = {  # of columns
    "model.width": "width",
    "model.depth": "depth",
    "model.activation": "activation",
    "optimizer.lr": "lr",
    "global_seed": "seed",
}

Jobs = Sequence[dict[str, Any]]


def given(job: dict[str, Any]) -> dict[str, Any]:
    """What was typed for a job, by the name of a column: numbers as numbers.

    Args:
        job: as `sweeps.Sweep` writes it down.
    """
    pairs = (text.lstrip("+~").partition("=")[::2] for text in job["overrides"])
    return {NAMES.get(key, key): _number(value) for key, value in pairs}


def rows(jobs: Jobs, file: str) -> pd.DataFrame:
    """The rows of one table of all jobs that are done, each with what the job was given.

    Args:
        jobs: of a sweep.
        file: its name in the folder of a run, such as metrics.csv.
    """
    tables = [
        safe_reading.read_table(Path(job["folder"]) / file).assign(**given(job))
        for job in jobs
        if job["status"] == "done"
    ]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def results(jobs: Jobs) -> pd.DataFrame:
    """One row a job: what it was given, its status, and how it was evaluated at its end.

    Columns `<split>_<metric>` are those of the network as trained, and empty where it diverged: a
    network that is not there has no accuracy.
    """
    found = []
    for job in jobs:
        row = given(job) | {"status": job["status"], "folder": job["folder"]}
        if job["status"] == "done":
            result = safe_reading.read_json(Path(job["folder"]) / "result.json")
            for split, numbers in result["evaluation"]["plain"].items():
                row |= {f"{split}_{metric}": value for metric, value in numbers.items()}
        found.append(row)
    return pd.DataFrame(found)


def require(table: pd.DataFrame, columns: Sequence[str], what: str) -> None:
    """Refuse a sweep that was not given what a table is about.

    Raises:
        ValueError: naming the options that are missing.
    """
    options = {column: option for option, column in NAMES.items()}
    missing = [options.get(name, name) for name in columns if name not in table]
    if missing:
        raise ValueError(f"{what}: the sweep gives its jobs no {', '.join(missing)}")


def _number(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
