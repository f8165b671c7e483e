"""Several processes against one that computes whole batches, in float64."""

import subprocess
import sys

import pytest
import torch

from tests.scripts import REPOSITORY
from tests.training import shared_worker

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """What two processes computed, and the folder that they shared."""
    folder = tmp_path_factory.mktemp("shared")
    (folder / "note.txt").write_text("before")
    command = [*TORCHRUN, "-m", "tests.training.shared_worker", str(folder)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)], folder


def test_two_processes_make_the_gradients_of_the_whole_batch(outcomes):
    (expected, _), (found, _) = shared_worker.alone(), outcomes[0][0][0]
    for (loss, correct, gradients), (mean, hits, summed) in zip(expected, found, strict=True):
        assert mean.item() == pytest.approx(loss.item(), abs=1e-12) and hits == correct
        for one, other in zip(gradients, summed, strict=True):
            torch.testing.assert_close(other, one, rtol=1e-10, atol=1e-12)


def test_two_processes_keep_the_statistics_of_the_whole_batch(outcomes):
    (_, expected), (_, found) = shared_worker.alone(), outcomes[0][0][0]
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_all_processes_hold_the_same_bits(outcomes):
    (first, _), (second, _) = (outcome[0] for outcome in outcomes[0])
    for (*one, gradients), (*other, others) in zip(first, second, strict=True):
        assert one == other and all(map(torch.equal, gradients, others))


def test_an_evaluation_in_parts_is_that_of_the_whole_split(outcomes):
    for _, same, difference, _ in outcomes[0]:
        assert same == [True, True] and difference < 1e-12


def test_all_processes_read_a_run_and_only_the_first_writes_it(outcomes):
    assert [read for *_, read in outcomes[0]] == ["before", "before"]
    assert (outcomes[1] / "note.txt").read_text() == "written by 0"
