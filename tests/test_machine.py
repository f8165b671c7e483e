import os

import pytest

from isthmus import machine


@pytest.mark.parametrize(("workers", "expected"), [(1, 8), (3, 2), (8, 1), (100, 1), (-1, 1)])
def test_workers_share_the_cores_that_this_process_may_use(workers, expected, monkeypatch):
    monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert machine.share_of_cores(workers) == expected


def test_slurm_says_how_many_there_are(monkeypatch):
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "4")
    assert machine.share_of_cores(2) == 2


@pytest.mark.parametrize(("said", "expected"), [("3", 3), ("3,1", 3), ("", 4), ("0", 4), ("a", 4)])
def test_the_environment_comes_before_the_share(said, expected, monkeypatch):
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "4")
    monkeypatch.setenv("OMP_NUM_THREADS", said)
    assert machine.default_threads(1) == expected


def test_the_thread_that_torchrun_itself_sets_is_not_the_users(monkeypatch):
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "4")
    for name, value in {"RANK": "0", "MASTER_ADDR": "here", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    for said, expected in (("1", 2), ("3", 3)):
        monkeypatch.setenv("OMP_NUM_THREADS", said)
        assert machine.default_threads(2) == expected
