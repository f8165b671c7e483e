"""What happens around the jobs of a sweep: a failed job is written down and stops no other.

Hydra calls these methods (`hydra.callbacks` in the scripts' configuration). Jobs may run in
processes of their own, so what they leave behind is a small file each.
"""

import contextlib
import json
import logging
import os
import pydoc
import sys
from pathlib import Path
from typing import Any

from src import torchrun
from src.runs import write_json

log = logging.getLogger(__name__)

PROBE = 2**16  # bytes: more than the configuration that Hydra writes


class Sweep:
    """Notes how each job of a multirun ended, and says so when all have.

    Args:
        at_end: dotpath of a function that takes the folder of a run; called then for each folder
            in which a job was done, once.
    """

    def __init__(self, at_end: str | None = None) -> None:
        self.at_end = at_end

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

    def on_job_end(self, config: Any, job_return: Any, **_: Any) -> None:
        """Write down how one job ended; a failure must not end the sweep."""
        if config.hydra.mode.name != "MULTIRUN":
            return
        status = type(job_return.status)
        failed = job_return.status == status.FAILED
        error = job_return._return_value if failed else None
        job = {
            "job": config.hydra.job.num,
            "overrides": list(job_return.overrides),
            "folder": config.hydra.runtime.output_dir,
            "status": "failed" if failed else "done",
            "error": f"{type(error).__name__}: {error}" if error else None,
        }
        write_json(_jobs(config) / f"{config.hydra.job.num}.json", job)
        if failed:
            log.error("job #%s failed: %s", config.hydra.job.num, error, exc_info=_trace(error))
            job_return.status, job_return.return_value = status.COMPLETED, None

    def on_multirun_end(self, config: Any, **_: Any) -> None:
        """Say how many jobs are done, and which failed and why; exit with 1 if any did."""
        jobs = [json.loads(path.read_text()) for path in _jobs(config).glob("*.json")]
        is_finished = self._finish({job["folder"] for job in jobs if job["status"] == "done"})
        failed = sorted((job for job in jobs if job["status"] == "failed"), key=lambda j: j["job"])
        print(f"\n{len(jobs)} jobs: {len(jobs) - len(failed)} done, {len(failed)} failed")
        for job in failed:
            print(f"  #{job['job']} {' '.join(job['overrides'])}\n    {job['error']}")
        if failed or not is_finished:
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

    def __getattr__(self, name: str) -> Any:
        """Hydra's other moments pass by."""
        if name.startswith("on_"):
            return lambda **_: None
        raise AttributeError(name)


def _jobs(config: Any) -> Path:
    return Path(config.hydra.sweep.dir) / "jobs"


def _trace(error: Exception | None) -> Exception | None:
    """The traceback of an error that is not the user's to mend."""
    return None if type(error).__name__ == "ConfigError" else error
