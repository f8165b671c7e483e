"""The ledger of a sweep: a small file for each job, put together as `sweep.csv`.

Jobs may run in processes of their own and on other machines, and any of them may die at any
moment, so each leaves what it knows in `jobs/<number>.json`.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from isthmus import safe_reading
from isthmus.runs import write_csv, write_json

COLUMNS = ("job", "status", "seconds", "folder", "overrides", "error")
# How a job stands. The first two are of a sweep that goes on, or was itself killed.
WAITING, RUNNING, DONE, FAILED = "waiting", "running", "done", "failed"
NOT_STARTED, KILLED, DIVERGED = "not started", "killed", "diverged"
REASONS = {
    NOT_STARTED: "never began: cancelled, or the sweep ended before",
    KILLED: "began and did not end: cancelled, killed, or out of memory",
}


def plan(sweep: Path, first: int, overrides: Sequence[Sequence[str]]) -> None:
    """Write down jobs that are about to be launched, numbered from `first` on."""
    for number, words in enumerate(overrides, first):
        note(sweep, {"job": number, "overrides": list(words), "status": WAITING})
    write(sweep)


def note(sweep: Path, job: dict[str, Any]) -> None:
    """Write down all that is known of one job."""
    write_json(sweep / "jobs" / f"{job['job']}.json", job)


def read(sweep: Path, is_over: bool = False) -> list[dict[str, Any]]:
    """All jobs of a sweep by number, as they stand.

    Args:
        sweep: its folder.
        is_over: whether a job that has not ended by now never will.
    """
    jobs = [json.loads(path.read_text()) for path in (sweep / "jobs").glob("*.json")]
    return [ended(job) if is_over else job for job in sorted(jobs, key=lambda job: job["job"])]


def ended(job: dict[str, Any]) -> dict[str, Any]:
    """A job of which nothing more will be heard."""
    status = {WAITING: NOT_STARTED, RUNNING: KILLED}.get(job["status"], job["status"])
    return {**job, "status": status, "error": REASONS.get(status, job.get("error"))}


def has_ended(sweep: Path, number: int) -> bool:
    """Whether a job has written that it is done or failed."""
    path = sweep / "jobs" / f"{number}.json"
    return path.exists() and json.loads(path.read_text())["status"] in (DONE, FAILED, DIVERGED)


def write(sweep: Path, is_over: bool = False) -> list[dict[str, Any]]:
    """Put the ledger together as `sweep.csv`: a row a job.

    What jobs differ in has a column for each override, and each final loss and accuracy has one.

    Args:
        sweep: its folder.
        is_over: whether a job that has not ended by now never will.

    Returns:
        The jobs.
    """
    jobs = read(sweep, is_over)
    columns = [*COLUMNS, *_varied(jobs)]
    rows = [_row(job) for job in jobs]
    columns += sorted({name for row in rows for name in row} - {*columns, *_overridden(jobs)})
    write_csv(sweep / "sweep.csv", columns, [[row.get(name) for name in columns] for row in rows])
    return jobs


def _row(job: dict[str, Any]) -> dict[str, Any]:
    known = {name: job.get(name) for name in COLUMNS}
    metrics = _metrics(Path(job["folder"])) if job["status"] == DONE else {}
    words = {"overrides": " ".join(job["overrides"]), "error": _line(job.get("error"))}
    return {**_split(job), **metrics, **known, **words}


def _metrics(folder: Path) -> dict[str, float]:
    """Final loss and accuracy of each model on each split, for a run that has a summary of them."""
    path = folder / "result.json"
    summary = safe_reading.read_json(path) if path.exists() else {}
    return {
        f"{model} {split} {metric}": value
        for model, row in summary.get("evaluation", {}).items()
        if "/" not in model  # a file that the job was given
        for split, cell in row.items()
        for metric, value in cell.items()
    }


def _varied(jobs: Iterable[dict[str, Any]]) -> list[str]:
    """Overrides in which the jobs differ, in the order in which they were typed."""
    values: dict[str, set[str | None]] = {name: set() for name in _overridden(jobs)}
    for job in jobs:
        given = _split(job)
        for name, seen in values.items():
            seen.add(given.get(name))
    return [name for name, seen in values.items() if len(seen) > 1 and name not in COLUMNS]


def _overridden(jobs: Iterable[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for job in jobs for name in _split(job)))


def _split(job: dict[str, Any]) -> dict[str, str]:
    """Overrides by their names."""
    parts = [word.partition("=") for word in job["overrides"]]
    return {name.lstrip("+~"): value for name, _, value in parts}


def _line(error: str | None) -> str | None:
    """A reason in one line."""
    return None if error is None else " ".join(error.split())
