"""A sweep on a real SLURM, whose jobs are cancelled and requeued, against the same sweep here."""

import csv
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.slurm.conftest import run

REPOSITORY = Path(__file__).resolve().parents[2]
SWEEP = [
    *("dataset=digits", "model=mlp", "model.width=16", "scheduler=constant"),
    *("hparams.epochs=60,300", "runtime.num_threads=1"),
    *("runtime.device=cpu", "runtime.tensorboard=false", "runtime.progress=false"),
]
SLURM = [
    *("hydra/launcher=slurm", "hydra.launcher.partition=main", "hydra.launcher.timeout_min=5"),
    *("hydra.launcher.cpus_per_task=1", "hydra.launcher.mem_gb=null"),
]
SLOWLY = "runtime.save_every=0"  # so that there is time to cancel a job: SLURM gives it 7 s more
TIMED = ("seconds", "images_per_second")  # of no two trainings alike
LIMIT = 300  # seconds for anything to happen

pytestmark = pytest.mark.slurm


@contextmanager
def multirun(folder: Path, *options: str, **process) -> Iterator[subprocess.Popen]:
    """A sweep under way; at the end it is over, whatever happens."""
    command = [sys.executable, str(REPOSITORY / "train.py"), "--multirun", *SWEEP, *options]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(command, cwd=folder, **pipes, **process) as started:
        try:
            yield started
        finally:
            started.kill()


def ledger(folder: Path) -> list[dict[str, str]]:
    """Of the latest sweep."""
    with sorted(folder.glob("outputs/sweeps/*/sweep.csv"))[-1].open() as file:
        return list(csv.DictReader(file))


def wait_for(what) -> None:
    end = time.monotonic() + LIMIT
    while not what():
        assert time.monotonic() < end
        time.sleep(0.05)


def results(folder: Path) -> dict[str, object]:
    """All that a sweep computed, by file: weights, tables and summaries, without times."""
    found: dict[str, object] = {}
    for path in sorted((folder / "outputs").glob("train_*/seed_*/**/*")):
        name = str(path.relative_to(folder))
        if path.suffix == ".safetensors":
            found[name] = path.read_bytes()
        elif path.name == "metrics.csv":
            rows = path.read_text().splitlines()
            found[name] = [row for row in rows if row.split(",")[-2] not in TIMED]
        elif path.name == "result.json":
            summary = json.loads(path.read_text())
            found[name] = {key: v for key, v in summary.items() if key != "train_seconds"}
    return found


def job_of(epochs: int, folder: Path, environment: dict[str, str]) -> str | None:
    """SLURM's number of the job that is in the middle of so many epochs."""
    for note in folder.glob("outputs/sweeps/*/jobs/*.json"):
        job = json.loads(note.read_text())
        if f"hparams.epochs={epochs}" in job["overrides"] and "folder" in job:
            array = run(["squeue", "--noheader", "--format=%F"], environment).split()[0]
            is_on = (Path(job["folder"]) / "state.pt").exists()
            return f"{array}_{job['job']}" if is_on else None
    return None


def interrupt(folder: Path, environment: dict[str, str]) -> None:
    """Send one job of a sweep back to the queue, and cancel the other one."""
    wait_for(lambda: job_of(60, folder, environment))
    name = str(job_of(60, folder, environment))
    run(["scancel", "--signal=USR2", name], environment)  # as before the time limit
    wait_for(lambda: job_of(300, folder, environment))
    run(["scancel", str(job_of(300, folder, environment))], environment)


def test_cancelled_and_requeued_jobs_go_on_and_the_sweep_equals_one_without_slurm(slurm, tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    with multirun(there, *SLURM, SLOWLY, env=slurm) as first:
        interrupt(there, slurm)
        said, _ = first.communicate(timeout=LIMIT)
    assert first.returncode == 1, said
    rows = ledger(there)
    requeued, cancelled = (Path(row["folder"]) for row in rows)
    assert [row["status"] for row in rows] == ["done", "killed"], said
    assert rows[1]["error"].startswith("began and did not end")
    assert "resuming from" in (requeued / "train.log").read_text()
    assert not (cancelled / "result.json").exists()

    with multirun(there, *SLURM, env=slurm) as again, multirun(here) as local:
        said, _ = again.communicate(timeout=LIMIT)
        local.communicate(timeout=LIMIT)
    assert (again.returncode, local.returncode) == (0, 0), said
    assert "resuming from" in (cancelled / "train.log").read_text()
    assert "results are complete" in (requeued / "train.log").read_text()
    assert results(there) == results(here)
    compared = [
        [{k: v for k, v in row.items() if k not in ("seconds", "folder")} for row in ledger(folder)]
        for folder in (here, there)
    ]
    assert compared[0] == compared[1]
    assert [row["status"] for row in compared[0]] == ["done", "done"]
