"""tune.py as a user starts it: searches that fail in part, are killed, and are shared."""

import csv
import json
import shlex
import time
from pathlib import Path

import pytest

from tests.scripts import SECONDS, run, started

SMALL = [
    *("dataset=digits", "model=mlp", "model.width=16", "hparams.epochs=2", "averaged.decay=0.9"),
    *("runtime.tensorboard=false", "runtime.device=cpu", "runtime.num_threads=1"),
]


def results(cwd):
    """Rows of trials.csv and the summary of the only search."""
    (folder,) = cwd.glob("outputs/tune_*/seed_1")
    with (folder / "trials.csv").open() as file:
        return list(csv.DictReader(file)), json.loads((folder / "result.json").read_text())


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """A search over a grid of three, of which one cannot be trained with; and what it said."""
    cwd = tmp_path_factory.mktemp("searched")
    words = ["optimizer.lr=0.01,0.1,1e30", "optimizer.weight_decay=1e-4", "scheduler=constant"]
    done = run("tune.py", *SMALL, *words, "hydra/sweeper/sampler=grid", cwd=cwd)
    return cwd, words, done.stdout


def test_a_trial_that_cannot_be_trained_is_marked_and_ends_no_search(searched):
    cwd, _, said = searched
    rows, summary = results(cwd)
    states = {float(row["optimizer.lr"]): row["state"] for row in rows}
    assert states == {0.01: "complete", 0.1: "complete", 1e30: "failed"}
    (error,) = (row["error"] for row in rows if row["error"])
    assert "the loss is nan at step" in error
    assert error in " ".join(said.split())
    assert summary["trials"] == {"complete": 2, "failed": 1}
    assert said.index("best: validation accuracy") < said.index("3 jobs: 2 done, 1 failed")


def test_the_console_has_a_line_for_each_trial_with_the_best_so_far(searched):
    cwd, _, said = searched
    rows, summary = results(cwd)
    lines = said[: said.index("\n3 trials: ")].splitlines()
    assert [line.partition(":")[0] for line in lines] == ["trial 0", "trial 1", "trial 2"]
    best = 0.0
    for line, row in zip(lines, rows, strict=True):
        best = max(best, float(row["value"] or 0))
        assert (f": {float(row['value']):.4f} " if row["value"] else ": failed: ") in line
        assert (f"best {best:.4f}" if best else "none is complete") in line
        assert f"optimizer.lr={float(row['optimizer.lr']):.4g}" in line


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["optimizer.lr=0.1"], "nothing is searched"),
        (["optimizer.lr=choice(0.1)"], "nothing is searched"),
        (["optimizer.lr=0.1,0.2", "hydra.sweeper.direction=minimize"], "direction=minimize: "),
    ],
)
def test_a_search_of_nothing_is_refused(words, named, tmp_path):
    fixed = ["optimizer.weight_decay=1e-4", "scheduler=constant"]
    done = run("tune.py", *SMALL, *fixed, *words, cwd=tmp_path, check=False)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert named in done.stderr
    assert not list(tmp_path.glob("outputs/t*"))


def test_the_test_set_is_in_no_table_of_a_trial_and_a_fifth_is_held_out(searched):
    cwd, _, _ = searched
    folders = [path.parent for path in cwd.glob("outputs/train_*/seed_1/result.json")]
    assert len(folders) == 2
    for folder in folders:
        result = json.loads((folder / "result.json").read_text())
        assert result["num_examples"] == {"train": 1149, "val": 288}
        assert all(set(row) == {"train", "val"} for row in result["evaluation"].values())
        with (folder / "metrics.csv").open() as file:
            assert {row["split"] for row in csv.DictReader(file)} == {"train", "val", ""}


def test_the_command_trains_as_the_best_trial_did_and_reads_the_test_set(searched):
    cwd, _, said = searched
    rows, summary = results(cwd)
    best = max((row for row in rows if row["value"]), key=lambda row: float(row["value"]))
    assert summary["best"]["number"] == int(best["number"])
    assert f"\n{summary['command']}\n" in said
    program, script, *words = shlex.split(summary["command"])
    run(script, *words, "runtime.num_threads=1", "output_dir=final", cwd=cwd)
    (path,) = cwd.glob("final/train_*/seed_1/result.json")
    final = json.loads(path.read_text())["evaluation"]
    trial = json.loads((Path(best["folder"]) / "result.json").read_text())["evaluation"]
    assert final["ema_0.9"]["val"] == trial["ema_0.9"]["val"]
    assert final["ema_0.9"]["val"]["accuracy"] == float(best["value"])
    assert "test" in final["plain"]


def test_the_figures_are_there(searched):
    cwd, _, _ = searched
    (figures,) = cwd.glob("outputs/tune_*/seed_1/figures")
    names = {path.stem for path in figures.glob("*.png")}
    assert names == {"history", "importance", "slices", "parallel"}


def test_the_ledger_has_the_trials(searched):
    cwd, _, _ = searched
    (path,) = cwd.glob("outputs/sweeps/*/sweep.csv")
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert sorted(row["status"] for row in rows) == ["done", "done", "failed"]
    assert {row["optimizer.lr"] for row in rows} == {"0.01", "0.1", "1e+30"}


def is_in_the_middle(cwd):
    """Whether one trial has begun after another one."""
    begun = {path.parent for path in cwd.glob("outputs/train_*/seed_1/state.pt")}
    done = {path.parent for path in cwd.glob("outputs/train_*/seed_1/result.json")}
    return len(begun) > 1 and len(begun) > len(done)


def test_a_search_that_is_killed_goes_on_with_two_workers_and_trains_nothing_twice(tmp_path):
    words = [*SMALL, "hparams.epochs=8", "hydra.sweeper.n_trials=3", "runtime.save_every=0"]
    with started("tune.py", *words, cwd=tmp_path) as killed:
        end = time.monotonic() + 120
        while not is_in_the_middle(tmp_path):
            assert time.monotonic() < end and killed.is_alive()
            time.sleep(0.02)
        killed.kill()
    finished = {
        path: path.stat().st_mtime_ns
        for path in tmp_path.glob("outputs/train_*/seed_1/result.json")
    }
    logs = [tmp_path / "one.log", tmp_path / "other.log"]
    first, second = (started("tune.py", *words, cwd=tmp_path, log=log) for log in logs)
    with first as one, second as other:
        for worker, log in zip((one, other), logs, strict=True):
            worker.join(SECONDS)
            assert worker.exitcode == 0, log.read_text()
    rows, summary = results(tmp_path)
    assert [row["number"] for row in rows] == ["0", "1", "2"]
    assert {row["state"] for row in rows} == {"complete"}
    assert summary["trials"] == {"complete": 3}
    assert len(list(tmp_path.glob("outputs/train_*"))) == 3
    logs = [path.read_text() for path in tmp_path.glob("outputs/train_*/seed_1/train.log")]
    assert any("resuming from" in text for text in logs)
    assert {path: path.stat().st_mtime_ns for path in finished} == finished


def test_a_search_that_cannot_run_gets_one_message_and_no_study(tmp_path):
    done = run("tune.py", *SMALL, "hparams.epoch=3", cwd=tmp_path, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "hparams.epoch=3: no such option" in done.stderr
    assert not list(tmp_path.glob("outputs/tune*"))
