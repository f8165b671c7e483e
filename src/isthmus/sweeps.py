"""The ledger of a sweep, and the Hydra callback that keeps it.

Each job writes its status to `jobs/<number>.json`, as jobs may run in separate processes and on
other machines and may be killed at any moment; `sweep.csv` is made of these files.
"""

import contextlib
import json
import logging
import os
import pydoc
import sys
import time
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from isthmus import machine, sweep_means, tables
from isthmus.config import command_line, launch
from isthmus.config.launch import ConfigError, to_container
from isthmus.store import reading
from isthmus.store.files import write_json

LEDGER_COLUMNS = ("job", "status", "seconds", "folder", "overrides", "error")
# Status of a job. The first two are of a sweep that is running, or was itself killed.
WAITING, RUNNING, DONE, FAILED = "waiting", "running", "done", "failed"
NOT_STARTED, KILLED, DIVERGED = "not started", "killed", "diverged"
OVER = "ended.json"  # file that says that a ledger is complete
REASONS = {
    NOT_STARTED: "never began: cancelled, or the sweep ended before",
    KILLED: "began and did not end: cancelled, killed, or out of memory",
}


def plan_jobs(sweep: Path, first: int, overrides: Sequence[Sequence[str]]) -> None:
    """Record jobs that are about to be launched, numbered from `first` on."""
    for number, job_overrides in enumerate(overrides, first):
        note_job(sweep, {"job": number, "overrides": list(job_overrides), "status": WAITING})
    write_table(sweep)


def note_job(sweep: Path, job: dict[str, Any]) -> None:
    """Write the record of one job."""
    write_json(sweep / "jobs" / f"{job['job']}.json", job)


def read_jobs(sweep: Path, is_over: bool = False) -> list[dict[str, Any]]:
    """The records of all jobs of a sweep, by number.

    Args:
        sweep: its folder.
        is_over: whether a job that has not ended by now never will.
    """
    jobs = [json.loads(path.read_text()) for path in (sweep / "jobs").glob("*.json")]
    return [finalize(job) if is_over else job for job in sorted(jobs, key=lambda job: job["job"])]


def finalize(job: dict[str, Any]) -> dict[str, Any]:
    """The final record of a job: one that has not ended never began, or was killed."""
    status = {WAITING: NOT_STARTED, RUNNING: KILLED}.get(job["status"], job["status"])
    return {**job, "status": status, "error": REASONS.get(status, job.get("error"))}


def has_ended(sweep: Path, number: int) -> bool:
    """Whether a job has written that it is done or failed."""
    path = sweep / "jobs" / f"{number}.json"
    return path.exists() and json.loads(path.read_text())["status"] in (DONE, FAILED, DIVERGED)


def close_ledger_of_a_crash(sweep: Path) -> None:
    """Fork a process that completes the ledger if this one ends without doing so itself.

    A job that crashes, or is killed, in the process of its sweep takes that along.
    """
    if not hasattr(os, "fork"):
        return
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # there are no other threads yet
        is_here = os.fork()
    if is_here:
        os.close(reader)
        return
    try:  # the other process holds the only writer until its end
        os.setsid()
        os.close(writer)
        null = os.open(os.devnull, os.O_RDWR)
        for stream in range(3):  # who waits for the end of the output waits for no one else
            os.dup2(null, stream)
        os.read(reader, 1)
        if (sweep / "jobs").exists() and not (sweep / OVER).exists():
            write_table(sweep, is_over=True)
    finally:
        os._exit(0)


def write_table(sweep: Path, is_over: bool = False) -> list[dict[str, Any]]:
    """Write the ledger as `sweep.csv`: one row per job.

    Each override in which jobs differ has a column, and each final loss and accuracy has one.

    Args:
        sweep: its folder.
        is_over: whether a job that has not ended by now never will.

    Returns:
        The jobs.
    """
    jobs = read_jobs(sweep, is_over)
    if is_over:
        write_json(sweep / OVER, {"jobs": len(jobs)})
    columns = [*LEDGER_COLUMNS, *_varied_overrides(jobs)]
    rows = [_row(job) for job in jobs]
    columns += sorted({name for row in rows for name in row} - {*columns, *_override_names(jobs)})
    tables.write(sweep / "sweep.csv", columns, rows)
    return jobs


def _row(job: dict[str, Any]) -> dict[str, Any]:
    known = {name: job.get(name) for name in LEDGER_COLUMNS}
    metrics = job_results(job)
    texts = {"overrides": " ".join(job["overrides"]), "error": _line(job.get("error"))}
    return {**_split(job), **metrics, **known, **texts}


def job_results(job: dict[str, Any]) -> dict[str, float]:
    """The results of a job that is done: what its script returned, or the final evaluation.

    Of an evaluation the loss and accuracy of each model on each split; and those of `averaged`,
    the averaged model by which it is compared with others.
    """
    if job["status"] != DONE:
        return {}
    if job.get("results"):
        return dict(job["results"])
    path = Path(job["folder"]) / "result.json"
    table = (reading.read_json(path) if path.exists() else {}).get("evaluation", {})
    averaged = tables.averaged_model(table)
    named = table if averaged is None else {**table, "averaged": table[averaged]}
    return {
        f"{model} {split} {metric}": value
        for model, row in named.items()
        if "/" not in model  # a file that was typed
        for split, cell in row.items()
        for metric, value in cell.items()
    }


def _varied_overrides(jobs: Iterable[dict[str, Any]]) -> list[str]:
    """Overrides in which the jobs differ, in the order in which they were typed."""
    values: dict[str, set[str | None]] = {name: set() for name in _override_names(jobs)}
    for job in jobs:
        overrides = _split(job)
        for name, seen in values.items():
            seen.add(overrides.get(name))
    return [name for name, seen in values.items() if len(seen) > 1 and name not in LEDGER_COLUMNS]


def _override_names(jobs: Iterable[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for job in jobs for name in _split(job)))


def _split(job: dict[str, Any]) -> dict[str, str]:
    """Overrides by their names."""
    parts = [word.partition("=") for word in job["overrides"]]
    return {name.lstrip("+~"): value for name, _, value in parts}


def _line(error: str | None) -> str | None:
    """A reason in one line."""
    return None if error is None else " ".join(error.split())


log = logging.getLogger(__name__)

PROBE = 2**16  # bytes: more than the configuration that Hydra writes


class Sweep:
    """Records the status of each job of a multirun, and prints at the end how all of them ended.

    Args:
        finish_run: dotpath of a function that takes the folder of a run; called at the end for each
            folder in which a job was done, once.
        is_tolerant: whether a sweep succeeds although jobs failed, as in a search that may try
            values that cannot be trained with.
        finish_sweep: dotpath of a function that makes one table of all jobs, as the ledger has
            them, in the folder of the sweep. A training that diverged is an entry there, and no
            failure.
    """

    def __init__(
        self,
        finish_run: str | None = None,
        is_tolerant: bool = False,
        finish_sweep: str | None = None,
    ) -> None:
        self.finish_run, self.is_tolerant, self.finish_sweep = finish_run, is_tolerant, finish_sweep
        self.began = time.monotonic()

    def on_run_start(self, config: Any, **_: Any) -> None:
        """Refuse, before Hydra writes there, a folder for runs that cannot be written to."""
        if not config.output_dir:  # else runs would be in the root of the file system
            print("output_dir='': must name a folder, such as outputs or .", file=sys.stderr)
            sys.exit(1)
        probe = Path(config.output_dir) / f".{os.getpid()}.tmp"
        try:
            probe.parent.mkdir(parents=True, exist_ok=True)
            probe.write_bytes(b"." * PROBE)
        except OSError as error:
            print(f"output_dir={config.output_dir}: {error.strerror}", file=sys.stderr)
            sys.exit(1)
        finally:
            with contextlib.suppress(OSError):
                probe.unlink()

    def on_run_end(self, job_return: Any, **_: Any) -> None:
        """End with the message of an error that the user can correct, and nothing around it."""
        error = job_return._return_value
        if isinstance(error, ConfigError) and not command_line.SHOWS_TRACEBACKS:
            sys.exit(str(error))

    def on_multirun_start(self, config: Any, **_: Any) -> None:
        """Refuse a sweep under torchrun, in a read-only folder, or over experiments with sweeps.

        And values of a sweep that Hydra would refuse job by job, while others run.
        """
        if machine.is_distributed():
            print("--multirun: torchrun trains one network at a time", file=sys.stderr)
            sys.exit(1)
        self.on_run_start(config)
        loader: Any = GlobalHydra.instance().config_loader()
        typed = list(config.hydra.overrides.task)
        if errors := command_line.command_line_errors(config.hydra.job.config_name, typed, loader):
            sys.exit(command_line.TITLE + "\n  ".join(errors))
        if names := experiments_with_sweeps(config):
            script = f"python {config.hydra.job.config_name}.py --multirun"
            print(
                f"experiment: {', '.join(names)} cannot be one of several in a sweep, having a "
                "sweep or launcher in hydra.sweeper, hydra.launcher; type each by itself:",
                *(f"  {script} experiment={name}" for name in names),
                sep="\n",
                file=sys.stderr,
            )
            sys.exit(1)

        close_ledger_of_a_crash(_folder(config))

    def on_job_start(self, config: Any, **_: Any) -> None:
        """Record that a job has begun."""
        if config.hydra.mode.name != "MULTIRUN":
            return
        self.began = time.monotonic()
        job = {**_job_id(config), "overrides": list(config.hydra.overrides.task)}
        note_job(_folder(config), {**job, "status": RUNNING})
        write_table(_folder(config))

    def on_job_end(self, config: Any, job_return: Any, **_: Any) -> None:
        """Record how one job ended; a failure must not end the sweep."""
        note_in_index(config, job_return)
        if config.hydra.mode.name != "MULTIRUN":
            return
        status = type(job_return.status)
        failed = job_return.status == status.FAILED
        returned = job_return._return_value
        diverged = failed and self.finish_sweep is not None and _has_diverged(returned)
        outcome = DIVERGED if diverged else FAILED if failed else DONE
        job = {
            **_job_id(config),
            "overrides": list(job_return.overrides),
            "status": outcome,
            "seconds": round(time.monotonic() - self.began, 3),
            "error": f"{type(returned).__name__}: {returned}" if failed else None,
            "value": returned if isinstance(returned, float) else None,
        }
        if isinstance(returned, dict):
            job["results"] = returned
        note_job(_folder(config), job)
        write_table(_folder(config))
        if diverged:
            log.info("job #%s diverged: %s", job["job"], returned)
        elif failed:
            log.error("job #%s failed: %s", job["job"], returned, exc_info=_trace(returned))
        if failed:
            job_return.status, job_return.return_value = status.COMPLETED, None

    def on_multirun_end(self, config: Any, **_: Any) -> None:
        """Print how many jobs are done, and which are not and why; exit with 1 if any is not."""
        jobs = write_table(_folder(config), is_over=True)
        is_finished = self._finish({job["folder"] for job in jobs if job["status"] == DONE})
        is_finished &= self._finish_all(jobs, _folder(config))
        if not self.is_tolerant and (means := write_means(_folder(config), jobs)):
            print(f"\n{means}")
        counts = {status: 0 for status in (DONE, FAILED)}
        for job in jobs:
            counts[job["status"]] = counts.get(job["status"], 0) + 1
        print(f"\n{len(jobs)} jobs: {', '.join(f'{n} {status}' for status, n in counts.items())}")
        lost = [job for job in jobs if job["status"] not in (DONE, DIVERGED)]
        for job in lost:
            print(f"  #{job['job']} {' '.join(job['overrides'])}\n    {job['error']}")
        if (lost and not self.is_tolerant) or not is_finished:
            sys.exit(1)

    def _finish(self, folders: set[str]) -> bool:
        """Call `finish_run` for each folder; returns whether it succeeded in all of them."""
        if self.finish_run is None:
            return True
        is_finished = True
        for folder in sorted(folders):
            try:
                finish: Any = pydoc.locate(self.finish_run)
                finish(Path(folder))
            except Exception:  # Hydra would only warn, and forget which jobs failed
                log.exception("%s failed in %s", self.finish_run, folder)
                is_finished = False
        return is_finished

    def _finish_all(self, jobs: list[dict[str, Any]], folder: Path) -> bool:
        """Call `finish_sweep`, if any job was done; returns whether it succeeded."""
        if self.finish_sweep is None or all(job["status"] not in (DONE, DIVERGED) for job in jobs):
            return True
        try:
            finish: Any = pydoc.locate(self.finish_sweep)
            finish(jobs, folder)
        except Exception:  # see `_finish`
            log.exception("%s failed", self.finish_sweep)
            return False
        return True

    def __getattr__(self, name: str) -> Any:
        """Ignore Hydra's other events."""
        if name.startswith("on_"):
            return lambda **_: None
        raise AttributeError(name)


def note_in_index(config: Any, job_return: Any) -> None:
    """Write into the index of runs how a job ended, and its main results."""
    folder, returned = getattr(config.hydra.runtime, "output_dir", ""), job_return._return_value
    failed = job_return.status == type(job_return.status).FAILED
    if failed:
        result = _line(str(returned)) or ""
    else:
        known = returned if isinstance(returned, dict) else None
        results = job_results({"status": DONE, "folder": folder, "results": known})
        result = sweep_means.summarize_results(results)
    status = FAILED if failed else DONE
    launch.note_end(getattr(config, "output_dir", ""), folder, status, result)


def write_means(sweep: Path, jobs: Sequence[dict[str, Any]]) -> str | None:
    """Write the means over seeds of the results of a sweep; returns them as text.

    Args:
        sweep: its folder.
        jobs: its records.

    Returns:
        None where fewer than two jobs have results.
    """
    pairs = [(job, results) for job in jobs if (results := job_results(job))]
    # Of a command that was typed twice the last job.
    done = {job["folder"] + str(job["overrides"]): (job, results) for job, results in pairs}
    if len(done) < 2:
        return None
    names = _varied_overrides([job for job, _ in done.values()])
    varied = [name for name in names if not sweep_means.is_seed(name)]
    results_by_values = [(_split(job), results) for job, results in done.values()]
    groups = sweep_means.group_settings(results_by_values, varied)
    sweep_means.write_means(sweep, varied, groups)
    return sweep_means.summarize_means(varied, groups)


def _folder(config: Any) -> Path:
    return Path(config.hydra.sweep.dir)


def _job_id(config: Any) -> dict[str, Any]:
    """Number and folder of a job."""
    return {"job": config.hydra.job.num, "folder": config.hydra.runtime.output_dir}


def _has_diverged(error: Exception | None) -> bool:
    """Whether a job ended because a loss, or a first step, was not finite."""
    return isinstance(error, FloatingPointError) or isinstance(
        getattr(error, "__cause__", None), FloatingPointError
    )


def _trace(error: Exception | None) -> Exception | None:
    """The error, to log its traceback, unless the user can correct it."""
    return None if type(error).__name__ == "ConfigError" else error


def experiments_with_sweeps(cfg: DictConfig) -> list[str]:
    """Experiments of a multirun that define a sweep or a launcher themselves.

    Hydra reads these only if one experiment is chosen for the whole multirun, not per job.

    Args:
        cfg: of the multirun, with Hydra's own.
    """
    loader: Any = GlobalHydra.instance().config_loader()
    swept = (to_container(cfg.hydra.sweeper.get("params")) or {}).get("experiment")
    overrides = [*cfg.hydra.overrides.task, *([f"experiment={swept}"] if swept else [])]
    names: list[str] = []
    for override in OverridesParser.create(loader).parse_overrides(overrides):
        if override.key_or_group == "experiment" and override.is_sweep_override():
            names += map(str, override.sweep_string_iterator())
    before = _hydra_of_jobs(loader, cfg) if names else []
    return [name for name in names if _hydra_of_jobs(loader, cfg, f"experiment={name}") != before]


def _hydra_of_jobs(loader: Any, cfg: DictConfig, *overrides: str) -> list[Any]:
    """Sweeper, launcher and callbacks in the configuration of a multirun's jobs."""
    try:
        job = loader.load_sweep_config(cfg, list(overrides))
    except HydraException:  # no such experiment: the job raises the error
        job = loader.load_sweep_config(cfg, [])
    parts = [job.hydra.get(name) for name in ("sweeper", "launcher", "callbacks")]
    return [OmegaConf.to_container(part, resolve=False) for part in parts]
