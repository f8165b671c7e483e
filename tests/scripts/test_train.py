"""`train.py` and `eval.py` as a user starts them, in processes of their own."""

import csv
import json
import os
import subprocess
import time

import pytest

from tests.scripts import QUIET, SMALL, files, only, refused, run, started


def test_train_then_again_then_eval(tmp_path):
    done = run("train.py", *SMALL, cwd=tmp_path)
    folder = only(tmp_path, "outputs/train_*/seed_1")
    assert f"results in {folder.relative_to(tmp_path)}" in done.stdout
    before = {path: path.read_bytes() for path in files(folder)}

    again = run("train.py", *SMALL, cwd=tmp_path)
    assert "results are complete" in again.stdout
    changed = {path for path, content in before.items() if path.read_bytes() != content}
    assert all(".hydra" in path.parts for path in changed)

    result = json.loads((folder / "result.json").read_text())["evaluation"]
    for model, row in result.items():
        end = "step_22" if model == "plain" else f"step_22.{model}"
        name = model if model.startswith("best") else end
        checkpoint = folder / "weights" / f"{name}.safetensors"
        run("eval.py", f"checkpoint={checkpoint}", "output_dir=evals", cwd=tmp_path)
        summary = [json.loads(p.read_text()) for p in tmp_path.glob("evals/eval_*/result.json")]
        found = next(s for s in summary if s["checkpoint"] == str(checkpoint))["evaluation"]
        for split, numbers in row.items():
            assert found[model][split] == pytest.approx(numbers, abs=1e-6)


def test_a_sweep_runs_all_its_jobs_and_says_which_failed(tmp_path):
    arguments = ["--multirun", *SMALL, *QUIET, "averaged.decay=0.9,1.5", "global_seed=1,2"]
    done = run("train.py", *arguments, cwd=tmp_path, check=False)
    assert done.returncode == 1
    assert "4 jobs: 2 done, 2 failed" in done.stdout
    assert len(list(tmp_path.glob("outputs/sweeps/*/jobs/*.json"))) == 4
    assert done.stdout.count("averaged.decay=1.5: must be a number in [0, 1)") >= 2
    results = list(tmp_path.glob("outputs/train_*/seed_*/result.json"))
    assert len(results) == 2
    assert len(list(tmp_path.glob("outputs/train_*"))) == 1
    with only(tmp_path, "outputs/sweeps/*/sweep.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["status"] for row in rows] == ["done", "done", "failed", "failed"]
    assert [(row["averaged.decay"], row["global_seed"]) for row in rows] == [
        (decay, seed) for decay in ("0.9", "1.5") for seed in ("1", "2")
    ]
    for row in rows[:2]:
        evaluation = json.loads((tmp_path / row["folder"] / "result.json").read_text())[
            "evaluation"
        ]
        assert float(row["plain test accuracy"]) == evaluation["plain"]["test"]["accuracy"]
        assert float(row["ema_0.9 val loss"]) == evaluation["ema_0.9"]["val"]["loss"]

    before = {path: path.stat().st_mtime_ns for path in results}
    arguments[arguments.index("averaged.decay=0.9,1.5")] = "averaged.decay=0.9,0.99"
    again = run("train.py", *arguments, cwd=tmp_path)
    assert again.stdout.count("results are complete; nothing to compute") == 2
    assert "4 jobs: 4 done, 0 failed" in again.stdout
    assert {path: path.stat().st_mtime_ns for path in results} == before


def test_a_sweep_over_processes_gives_the_same_files(tmp_path):
    sweep = ["--multirun", *SMALL, *QUIET, "global_seed=1,2", "runtime.num_threads=1"]
    run("train.py", *sweep, "output_dir=a", cwd=tmp_path)
    joblib = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    done = run("train.py", *sweep, "output_dir=b", *joblib, cwd=tmp_path)
    assert "2 jobs: 2 done, 0 failed" in done.stdout
    files = sorted((tmp_path / "a").glob("train_*/seed_*/weights/*.safetensors"))
    assert len(files) == 8
    for file in files:
        twin = tmp_path / "b" / file.relative_to(tmp_path / "a")
        assert twin.read_bytes() == file.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["optimizer.lr=fast"], "optimizer.lr=fast: must be a number"),
        (["model=resnet21"], "resnet20"),
        (["optimizer=null"], "momentum"),
        (["hparams.epoch=3"], "hparams.epoch=3: no such option; hparams takes batch_size, epochs"),
        (["averaged.decay=1.5"], "averaged.decay=1.5: must be a number in [0, 1)"),
        (["dataset=imagefolder", "dataset.root=/nowhere"], "/nowhere"),
        (["dataset=cifar10", "dataset.root=/nowhere"], "/nowhere"),
        (
            ["dataset=cifar10", "dataset.root=/nowhere", "averaged.decay=1.5"],
            "averaged.decay=1.5: must",
        ),
        (["dataset=cifar10", "dataset.root=/nowhere", "optimizer.lr=-1"], "optimizer.lr=-1: must"),
        (["model.freeze=[batch_norm]"], "freeze"),
        (["snapshots=[9ep]"], "9ep is after the end of training"),
        (["scheduler=linear", "scheduler.warmup=9ep"], "scheduler.warmup"),
        (["runtime.device=toaster"], "runtime.device=toaster"),
        (["optimizer.lr=1e30"], "the loss is"),
        (["averaged=swa", "averaged.start=9ep"], "averaged.start: "),
        (["experiment=quickstart", "model=lenet5"], "removes what an experiment sets"),
        (["output_dir=/dev/null/runs"], "output_dir=/dev/null/runs: Not a directory"),
        (["output_dir="], "output_dir='': must name a folder"),
        (["runtime.num_threads=100000"], "runtime.num_threads=100000: must be at most 1024"),
        (["model.width=0", "parametrization=mup"], "model.width=0: must be "),
        (["parametrization=mup", "parametrization.c=[0,1]"], "parametrization.c: must be 3 expo"),
        (["parametrization=mup", "optimizer.lr=null"], "optimizer.lr=null: must be a number"),
        (["parametrization=ipllr", "optimizer=adam"], "parametrization=ipllr needs gradient desc"),
    ],
)
def test_bad_input_gets_one_message_and_leaves_nothing(arguments, message, tmp_path):
    assert message in refused("train.py", *SMALL, *QUIET, *arguments, cwd=tmp_path)
    assert not list(tmp_path.glob("outputs/train_*/seed_*/result.json"))
    if "1e30" not in arguments[0]:
        assert not list(tmp_path.glob("outputs/train_*"))


def test_a_missing_or_damaged_checkpoint_is_named(tmp_path):
    run("train.py", *SMALL, *QUIET, cwd=tmp_path)
    weights = only(tmp_path, "outputs/train_*/seed_1/weights")
    message = refused("eval.py", f"checkpoint={weights}/step_7.safetensors", cwd=tmp_path)
    assert "best, step_22" in message
    file = weights / "step_22.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    message = refused("eval.py", f"checkpoint={file}", cwd=tmp_path)
    assert f"{file} is not a whole safetensors file" in message


KILLED = {
    "sgd and an ema bank": ["optimizer=momentum", "optimizer.lr=0.05", "averaged.decay=[0.9,0.99]"],
    "adam and swa": ["optimizer=adam", "averaged=swa", "averaged.start=1ep", "averaged.every=10it"],
}


@pytest.mark.parametrize("parts", KILLED.values(), ids=KILLED)
def test_a_run_killed_in_the_middle_of_an_epoch_goes_on_bit_for_bit(parts, tmp_path):
    arguments = [
        "dataset=digits", "dataset.augment=true", "dataset.cutout=2", "dataset.val_fraction=0.2",
        "model=cnn", "hparams.epochs=6", "hparams.batch_size=64", "scheduler=cosine",
        *parts, *QUIET, "runtime.num_threads=1", "runtime.save_every=0.05", "runtime.compile=false",
    ]  # fmt: skip
    run("train.py", *arguments, "output_dir=whole", cwd=tmp_path)

    with started("train.py", *arguments, "output_dir=parts", cwd=tmp_path) as process:
        deadline, seen = time.monotonic() + 120, set()
        while len(seen) < 5 and time.monotonic() < deadline:  # states written so far
            seen |= {path.stat().st_mtime_ns for path in tmp_path.glob("parts/*/*/state.pt")}
            time.sleep(0.001)
        process.kill()
    assert not list(tmp_path.glob("parts/*/*/result.json")), "killed too late to prove anything"
    done = run("train.py", *arguments, "output_dir=parts", cwd=tmp_path)
    assert "resuming from" in done.stdout

    whole, parted = only(tmp_path, "whole/*/*"), only(tmp_path, "parts/*/*")
    files = sorted(file.name for file in whole.glob("weights/*"))
    assert files == sorted(file.name for file in parted.glob("weights/*"))
    for name in files:
        assert (whole / "weights" / name).read_bytes() == (parted / "weights" / name).read_bytes()
    assert timeless(whole / "metrics.csv") == timeless(parted / "metrics.csv")


def timeless(path):
    with path.open() as file:
        rows = list(csv.reader(file))
    return [row for row in rows if row[4] not in ("seconds", "images_per_second")]


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="mounting needs root")
def test_a_full_disk_is_named_and_the_run_goes_on_when_there_is_room(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", disk])
    if mounted.returncode != 0:
        pytest.skip("this machine does not let us mount a tmpfs")
    arguments = [
        *SMALL,
        "model.width=300",
        "runtime.save_every=0",
        f"output_dir={disk}",
        "runtime.device=cpu",
    ]
    try:
        message = refused("train.py", *arguments, cwd=tmp_path)
        assert "No space left on device" in message
        subprocess.run(["mount", "-o", "remount,size=50m", disk], check=True)
        run("train.py", *arguments, cwd=tmp_path)
        only(disk, "train_*/seed_1/result.json")
    finally:
        subprocess.run(["umount", disk], check=True)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="mounting needs root")
def test_a_disk_that_is_full_from_the_start_is_named(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", disk])
    if mounted.returncode != 0:
        pytest.skip("this machine does not let us mount a tmpfs")
    try:
        message = refused("train.py", *SMALL, *QUIET, f"output_dir={disk}", cwd=tmp_path)
        assert message == f"output_dir={disk}: No space left on device\n"
        assert list(disk.iterdir()) == []
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_refused_job_leaves_the_folder_of_a_running_one_alone(tmp_path):
    arguments = [*SMALL, *QUIET, "hparams.epochs=300"]
    with started("train.py", *arguments, cwd=tmp_path) as process:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob("outputs/*/*/run.lock")) and time.monotonic() < deadline:
            time.sleep(0.01)
        refused("train.py", *arguments, "runtime.save_every=-1", cwd=tmp_path)
        process.join(120)
        assert process.exitcode == 0
    folder = only(tmp_path, "outputs/train_*/seed_1")
    assert (folder / ".hydra").is_dir() and (folder / "result.json").exists()


def test_experiments_that_bring_a_sweep_are_not_swept_over(tmp_path):
    words = ["--multirun", "experiment=coordinate_check,quickstart,function_1d"]
    message = refused("train.py", *words, cwd=tmp_path)
    for name in ("coordinate_check", "function_1d"):
        assert f"\n  python train.py --multirun experiment={name}\n" in message
    assert "experiment=quickstart" not in message
    assert not list(tmp_path.glob("outputs/*"))


def test_what_a_finished_run_has_lost_is_made_again(tmp_path):
    typed = [*SMALL, *QUIET, "averaged.decay=0.9"]
    run("train.py", *typed, cwd=tmp_path)
    folder = only(tmp_path, "outputs/train_*/seed_1")
    kept = sorted((folder / "weights").iterdir())
    before = {path: path.read_bytes() for path in [*kept, folder / "metrics.csv"]}
    for path in before:
        path.unlink()
    done = run("train.py", *typed, cwd=tmp_path)
    assert "results are complete" not in done.stdout
    assert "metrics.csv" in done.stdout and "weights/" in done.stdout
    assert {path: path.read_bytes() for path in before} == before
    assert "results are complete" in run("train.py", *typed, cwd=tmp_path).stdout


def test_threads_are_those_of_the_environment_and_then_of_the_folder(tmp_path, monkeypatch):
    typed = [*SMALL, *QUIET, "averaged=none"]
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    run("train.py", *typed, cwd=tmp_path)
    folder = only(tmp_path, "outputs/train_*/seed_1")
    assert json.loads((folder / "result.json").read_text())["num_threads"] == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    run("train.py", *typed, "snapshots=[1ep]", cwd=tmp_path)  # replayed, so with one thread
    again = run("train.py", *typed, "runtime.num_threads=2", cwd=tmp_path)
    assert "results are complete" in again.stdout
    assert "runtime.num_threads=2" in again.stdout + again.stderr
    other = [*typed, "global_seed=2"]
    run("train.py", *other, cwd=tmp_path)
    result = only(tmp_path, "outputs/train_*/seed_2/result.json")
    assert json.loads(result.read_text())["num_threads"] == 2


def test_a_typed_option_that_another_one_overrules_is_refused(tmp_path):
    error = refused("train.py", *SMALL, "hparams.steps=3it", cwd=tmp_path)
    assert "hparams.epochs=2: has no effect" in error and "hparams.steps=3it" in error
    assert not list(tmp_path.glob("outputs/train_*"))


def test_every_run_is_in_the_index_with_what_was_typed_that_is_no_default(tmp_path):
    typed = [*SMALL, *QUIET, "global_seed=1", "runtime.progress=true"]
    run("train.py", *typed, cwd=tmp_path)
    refused("train.py", *typed, "optimizer.lr=fast", cwd=tmp_path)
    done = run("plots.py", "figure=runs", "runs=outputs", cwd=tmp_path)
    with (tmp_path / "outputs" / "index.csv").open() as file:
        row, _ = csv.DictReader(file)
    folder = only(tmp_path, "outputs/train_*/seed_1")
    assert row["folder"] == folder.relative_to(tmp_path / "outputs").as_posix()
    assert (row["script"], row["status"]) == ("train", "done")
    assert row["typed"].split() == [*SMALL, *QUIET]
    accuracy = json.loads((folder / "result.json").read_text())["evaluation"]["plain"]["test"]
    assert f"plain {accuracy['accuracy']:.4g}" in row["result"]
    assert row["folder"] in done.stdout and len(done.stdout.splitlines()) == 2
