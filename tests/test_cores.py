import os

import pytest

from src import cores


@pytest.mark.parametrize(("workers", "expected"), [(1, 8), (3, 2), (8, 1), (100, 1), (-1, 1)])
def test_workers_share_the_cores_that_this_process_may_use(workers, expected, monkeypatch):
    monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert cores.share(workers) == expected


def test_slurm_says_how_many_there_are(monkeypatch):
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "4")
    assert cores.share(2) == 2
