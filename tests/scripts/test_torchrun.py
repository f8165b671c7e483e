"""`train.py` in several processes that `torchrun` starts."""

import csv
import json
import signal
import subprocess
import sys
import time

import pytest
from safetensors.torch import load_file

from isthmus import machine
from tests.scripts import QUIET, REPOSITORY, only, run

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
SMALL = [  # batch norm; batches of 100 and a last one of 50, of which each process has half
    "dataset=digits", "dataset.val_fraction=0.2", "model=resnet20", "optimizer.lr=0.02",
    "model._target_=isthmus.models.resnet_cifar.ResNetCifar", "model.depth=8", "model.width=4",
    "averaged.decay=[0.9]", "scheduler=constant", "hparams.batch_size=100", *QUIET,
]  # fmt: skip
LENGTH = "hparams.steps=1ep4it"


def started(*arguments, cwd):
    command = [*TORCHRUN, str(REPOSITORY / "train.py"), *arguments]
    return subprocess.Popen(
        command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def early(folder):
    """Rows of the first epoch, but those of time and of whole numbers of examples."""
    with (folder / "metrics.csv").open() as file:
        rows = list(csv.reader(file))[1:]
    others = {"seconds", "second", "accuracy"}
    return [row for row in rows if float(row[1]) <= 1 and not others & set(row[4].split("_"))]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A folder with the run of one process."""
    folder = tmp_path_factory.mktemp("alone")
    run("train.py", *SMALL, LENGTH, cwd=folder)
    return only(folder, "outputs/train_*/seed_1")


def test_two_processes_train_what_one_trains_and_go_on_after_a_kill(alone, tmp_path):
    first = started(*SMALL, LENGTH, "runtime.save_every=0", cwd=tmp_path)
    while not list(tmp_path.glob("outputs/train_*/seed_1/state.pt")) and first.poll() is None:
        time.sleep(0.05)
    first.send_signal(signal.SIGTERM)
    first.communicate(timeout=60)
    assert not list(tmp_path.glob("outputs/train_*/seed_1/result.json"))
    second = started(*SMALL, LENGTH, cwd=tmp_path)
    output, _ = second.communicate(timeout=300)
    assert second.returncode == 0, output
    assert output.count("resuming from") == output.count("results in") == 1, output
    folder = only(tmp_path, "outputs/train_*/seed_1")
    assert folder.parent.name == alone.parent.name
    found, expected = (json.loads((path / "result.json").read_text()) for path in (folder, alone))
    for model, row in expected["evaluation"].items():  # rounding grows from step to step
        for split, cell in row.items():
            other = found["evaluation"][model][split]
            assert other["loss"] == pytest.approx(cell["loss"], rel=2e-3)
            assert other["accuracy"] == pytest.approx(cell["accuracy"], abs=0.01)
    for path in (alone / "weights").glob("*.safetensors"):
        for name, tensor in load_file(path).items():
            other = load_file(folder / "weights" / path.name)[name]
            assert (tensor.double() - other.double()).abs().max() < 2e-3, (path.name, name)
    for one, other in zip(*map(early, (alone, folder)), strict=True):
        assert one[:5] == other[:5] and float(one[5]) == pytest.approx(float(other[5]), rel=1e-3)
    again = run("train.py", *SMALL, LENGTH, cwd=tmp_path)
    assert "results are complete" in again.stdout


@pytest.mark.parametrize(
    ("script", "arguments", "message"),
    [
        ("eval.py", ["checkpoint=a"], "torchrun: only train.py trains one network in several"),
        ("train.py", ["--multirun", "global_seed=1,2"], "torchrun trains one network at a time"),
    ],
)
def test_what_torchrun_cannot_start_is_refused(script, arguments, message, tmp_path, monkeypatch):
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost"}.items():
        monkeypatch.setenv(name, value)
    done = run(script, *arguments, cwd=tmp_path, check=False)
    assert done.returncode == 1 and message in done.stderr
    assert list(tmp_path.rglob("*.csv")) == []


def test_a_process_by_itself_is_the_first(monkeypatch):
    assert machine.is_first() and not machine.is_distributed()
    assert (machine.rank(), machine.num_processes()) == (0, 1)
    assert (machine.local_rank(), machine.num_local_processes()) == (0, 1)
    monkeypatch.setenv("WORLD_SIZE", "4")  # as some clusters do without torchrun
    assert not machine.is_distributed()
    monkeypatch.setenv("MASTER_ADDR", "localhost")
    monkeypatch.setenv("RANK", "1")
    assert machine.is_distributed() and not machine.is_first()
