import os
from types import SimpleNamespace

import pytest

from hydra_plugins.isthmus import _submission
from isthmus import sweeps


@pytest.fixture
def squeue(tmp_path, monkeypatch):
    """A function that puts a program in place of SLURM's squeue, which prints lines or fails."""

    def make(*lines, status=0):
        program = tmp_path / "bin" / "squeue"
        program.parent.mkdir(exist_ok=True)
        text = "\n".join(lines)
        program.write_text(f"#!/bin/sh\necho '{text}'\nexit {status}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")

    return make


def test_the_queue_has_jobs_and_members_of_arrays(squeue):
    squeue("12 0", "12 3", "15 N/A")
    assert _submission.queued_jobs() == {"12_0", "12_3", "15"}


def test_an_empty_queue_is_one_and_no_answer_is_none(squeue, caplog):
    squeue("")
    assert _submission.queued_jobs() == set()
    squeue("", status=1)
    assert _submission.queued_jobs() is None
    assert "squeue does not answer" in caplog.text


@pytest.fixture
def looks(monkeypatch):
    """What happens between two looks at the jobs: functions, called in turn."""
    steps = []
    monkeypatch.setattr(_submission.time, "sleep", lambda _: steps.pop(0)() if steps else None)
    return steps


def slurm_jobs(count):
    return {number: SimpleNamespace(job_id=f"7_{number}") for number in range(count)}


def done(sweep, number, status="done"):
    sweeps.note_job(sweep, {"job": number, "overrides": [], "folder": "a", "status": status})


def test_jobs_are_waited_for_until_they_say_that_they_have_ended(tmp_path, squeue, looks):
    squeue("7 0", "7 1")
    looks += [lambda: done(tmp_path, 1), lambda: done(tmp_path, 0, "failed")]
    _submission.wait(slurm_jobs(2), tmp_path, is_in_slurm=True)
    assert looks == []


def test_a_job_that_is_gone_from_the_queue_is_not_waited_for(tmp_path, squeue, looks):
    squeue("7 0")
    looks += [lambda: None, lambda: done(tmp_path, 0)]
    _submission.wait(slurm_jobs(2), tmp_path, is_in_slurm=True)
    assert looks == []  # it did wait for the other


def test_a_job_is_gone_if_the_queue_says_so_twice(tmp_path, squeue, looks):
    squeue("8 0")
    looks += [lambda: None, lambda: None, lambda: None]
    _submission.wait(slurm_jobs(1), tmp_path, is_in_slurm=True)
    assert len(looks) == 1


def test_while_the_queue_does_not_answer_no_job_is_gone(tmp_path, squeue, looks):
    squeue("", status=1)
    looks += [lambda: None] * 5 + [lambda: done(tmp_path, 0)]
    _submission.wait(slurm_jobs(1), tmp_path, is_in_slurm=True)
    assert looks == []


def test_a_process_that_died_is_not_waited_for(tmp_path, looks):
    process = SimpleNamespace(done=lambda: True)
    _submission.wait({0: process}, tmp_path, is_in_slurm=False)
