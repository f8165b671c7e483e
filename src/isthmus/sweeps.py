"""What happens around the jobs of a sweep: a failed job is written down and stops no other.

Hydra calls these methods (`hydra.callbacks` in the scripts' configuration). Jobs may run in
processes of their own, so what they leave behind is a small file each, see `ledger`.
"""

import contextlib
import logging
import os
import pydoc
import sys
import time
from pathlib import Path
from typing import Any

from isthmus import ledger, torchrun
from isthmus.config import experiments_with_sweeps

log = logging.getLogger(__name__)

PROBE = 2**16  # bytes: more than the configuration that Hydra writes


class Sweep:
    """Notes how each job of a multirun stands, and says at the end how all of them ended.

    Args:
        at_end: dotpath of a function that takes the folder of a run; called then for each folder
            in which a job was done, once.
        is_tolerant: whether a sweep in which jobs failed has gone well, as a search may that
            tries values that cannot be trained with.
        of_all: dotpath of a function that makes one table of all jobs, as the ledger has them, in
            the folder of the sweep. A training that diverged is an entry there, no failure.
    """

    def __init__(
        self, at_end: str | None = None, is_tolerant: bool = False, of_all: str | None = None
    ) -> None:
        self.at_end, self.is_tolerant, self.of_all = at_end, is_tolerant, of_all
        self.began = time.monotonic()

    def on_run_start(self, config: Any, **_: Any) -> None:
        """Refuse, before Hydra writes there, a folder for runs that cannot be written to."""
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

    def on_multirun_start(self, config: Any, **_: Any) -> None:
        """Refuse what cannot be swept over."""
        if torchrun.is_on():
            print("--multirun: torchrun trains one network at a time", file=sys.stderr)
            sys.exit(1)
        self.on_run_start(config)
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

    def on_job_start(self, config: Any, **_: Any) -> None:
        """Write down that a job has begun."""
        if config.hydra.mode.name != "MULTIRUN":
            return
        self.began = time.monotonic()
        job = {**_of(config), "overrides": list(config.hydra.overrides.task)}
        ledger.note(_folder(config), {**job, "status": ledger.RUNNING})

    def on_job_end(self, config: Any, job_return: Any, **_: Any) -> None:
        """Write down how one job ended; a failure must not end the sweep."""
        if config.hydra.mode.name != "MULTIRUN":
            return
        status = type(job_return.status)
        failed = job_return.status == status.FAILED
        returned = job_return._return_value
        diverged = failed and self.of_all is not None and _has_diverged(returned)
        ended = ledger.DIVERGED if diverged else ledger.FAILED if failed else ledger.DONE
        job = {
            **_of(config),
            "overrides": list(job_return.overrides),
            "status": ended,
            "seconds": round(time.monotonic() - self.began, 3),
            "error": f"{type(returned).__name__}: {returned}" if failed else None,
            "value": returned if isinstance(returned, float) else None,
        }
        ledger.note(_folder(config), job)
        ledger.write(_folder(config))
        if diverged:
            log.info("job #%s diverged: %s", job["job"], returned)
        elif failed:
            log.error("job #%s failed: %s", job["job"], returned, exc_info=_trace(returned))
        if failed:
            job_return.status, job_return.return_value = status.COMPLETED, None

    def on_multirun_end(self, config: Any, **_: Any) -> None:
        """Say how many jobs are done, and which are not and why; exit with 1 if any is not."""
        jobs = ledger.write(_folder(config), is_over=True)
        is_finished = self._finish({job["folder"] for job in jobs if job["status"] == ledger.DONE})
        is_finished &= self._finish_all(jobs, _folder(config))
        counts = {status: 0 for status in (ledger.DONE, ledger.FAILED)}
        for job in jobs:
            counts[job["status"]] = counts.get(job["status"], 0) + 1
        print(f"\n{len(jobs)} jobs: {', '.join(f'{n} {status}' for status, n in counts.items())}")
        lost = [job for job in jobs if job["status"] not in (ledger.DONE, ledger.DIVERGED)]
        for job in lost:
            print(f"  #{job['job']} {' '.join(job['overrides'])}\n    {job['error']}")
        if (lost and not self.is_tolerant) or not is_finished:
            sys.exit(1)

    def _finish(self, folders: set[str]) -> bool:
        """Call `at_end` for each folder; whether it did what it does in all of them."""
        if self.at_end is None:
            return True
        is_finished = True
        for folder in sorted(folders):
            try:
                finish: Any = pydoc.locate(self.at_end)
                finish(Path(folder))
            except Exception:  # Hydra would make a warning of it, and forget which jobs failed
                log.exception("%s failed in %s", self.at_end, folder)
                is_finished = False
        return is_finished

    def _finish_all(self, jobs: list[dict[str, Any]], folder: Path) -> bool:
        """Call `of_all`, if any job was done; whether it did what it does."""
        if self.of_all is None or all(
            job["status"] not in (ledger.DONE, ledger.DIVERGED) for job in jobs
        ):
            return True
        try:
            finish: Any = pydoc.locate(self.of_all)
            finish(jobs, folder)
        except Exception:  # see `_finish`
            log.exception("%s failed", self.of_all)
            return False
        return True

    def __getattr__(self, name: str) -> Any:
        """Hydra's other moments pass by."""
        if name.startswith("on_"):
            return lambda **_: None
        raise AttributeError(name)


def _folder(config: Any) -> Path:
    return Path(config.hydra.sweep.dir)


def _of(config: Any) -> dict[str, Any]:
    """Which job it is, and where it works."""
    return {"job": config.hydra.job.num, "folder": config.hydra.runtime.output_dir}


def _has_diverged(error: Exception | None) -> bool:
    """Whether a job ended because a loss, or a first step, was not finite."""
    return isinstance(error, FloatingPointError) or isinstance(
        getattr(error, "__cause__", None), FloatingPointError
    )


def _trace(error: Exception | None) -> Exception | None:
    """The traceback of an error that is not the user's to mend."""
    return None if type(error).__name__ == "ConfigError" else error
