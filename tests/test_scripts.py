"""The scripts as a user starts them: in processes of their own."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
from safetensors.torch import load_file

from src import runs
from tests.scripts import QUIET, REPOSITORY, SMALL, files, only, refused, run

SCRIPTS = ["train.py", "eval.py", "average.py", "spawn.py", "interpolate.py", "prune.py", "tune.py"]


@pytest.mark.parametrize("script", SCRIPTS)
def test_help(script, tmp_path):
    done = run(script, "--help", cwd=tmp_path)
    assert "dataset" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_train_then_again_then_eval(tmp_path):
    done = run("train.py", *SMALL, cwd=tmp_path)
    folder = only(tmp_path, "outputs/train_*/seed_1")
    assert f"results in {folder.relative_to(tmp_path)}" in done.stdout
    before = {path: path.read_bytes() for path in files(folder)}

    again = run("train.py", *SMALL, cwd=tmp_path)
    assert "done before" in again.stdout
    changed = {path for path, content in before.items() if path.read_bytes() != content}
    assert all(".hydra" in path.parts for path in changed)

    result = json.loads((folder / "result.json").read_text())["evaluation"]
    for model, row in result.items():
        name = "best" if model == "best" else "step_22" + ("" if model == "plain" else f".{model}")
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
    assert done.stdout.count("averaged.decay: must be in [0, 1), got 1.5") >= 2
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
    assert again.stdout.count("done before: nothing to compute") == 2
    assert "4 jobs: 4 done, 0 failed" in again.stdout
    assert {path: path.stat().st_mtime_ns for path in results} == before


def test_a_sweep_over_processes_gives_the_same_files(tmp_path):
    sweep = ["--multirun", *SMALL, *QUIET, "global_seed=1,2", "runtime.num_threads=1"]
    run("train.py", *sweep, "output_dir=a", cwd=tmp_path)
    joblib = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    done = run("train.py", *sweep, "output_dir=b", *joblib, cwd=tmp_path)
    assert "2 jobs: 2 done, 0 failed" in done.stdout
    files = sorted((tmp_path / "a").glob("train_*/seed_*/weights/*.safetensors"))
    assert len(files) == 6
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
        (["averaged.decay=1.5"], "averaged.decay: must be in [0, 1), got 1.5"),
        (["dataset=imagefolder", "dataset.root=/nowhere"], "/nowhere"),
        (["dataset=cifar10", "dataset.root=/nowhere"], "/nowhere"),
        (
            ["dataset=cifar10", "dataset.root=/nowhere", "averaged.decay=1.5"],
            "averaged.decay: must",
        ),
        (["dataset=cifar10", "dataset.root=/nowhere", "optimizer.lr=-1"], "optimizer.lr: must"),
        (["model.freeze=[batch_norm]"], "freeze"),
        (["snapshots=[9ep]"], "9ep lies after the end of training"),
        (["scheduler=linear", "scheduler.warmup=9ep"], "scheduler.warmup"),
        (["runtime.device=toaster"], "runtime.device=toaster"),
        (["optimizer.lr=1e30"], "the loss is"),
        (["averaged=swa", "averaged.start=9ep"], "averaged.start: "),
        (["experiment=quickstart", "model=lenet5"], "removes what an experiment sets"),
        (["output_dir=/dev/null/runs"], "output_dir=/dev/null/runs: Not a directory"),
        (["model.width=0", "parametrization=mup"], "model.width: must be at least 1, got 0"),
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


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Three runs of train.py that differ in their seed, and one of another architecture."""
    folder = tmp_path_factory.mktemp("trained")
    sweep = ["--multirun", *SMALL, *QUIET, "averaged=none", "snapshots=[1ep]"]
    run("train.py", *sweep, "global_seed=1,2,3", "dataset.val_fraction=0.2", cwd=folder)
    run("train.py", *sweep, "model.width=8", "output_dir=wide", cwd=folder)
    return folder


def averaged(*arguments, cwd):
    return run("average.py", *arguments, "runtime.device=cpu", cwd=cwd)


def test_three_runs_are_averaged_from_another_folder_and_again_and_evaluated(trained, tmp_path):
    pattern = f"checkpoints=[{trained}/outputs/train_*/seed_*/weights/step_18.safetensors]"
    done = averaged(pattern, cwd=tmp_path)
    folder = only(tmp_path, "outputs/average_*")
    sources = sorted(trained.glob("outputs/train_*/seed_*/weights/step_18.safetensors"))
    result = json.loads((folder / "result.json").read_text())
    assert [part["checkpoint"] for part in result["ingredients"]] == list(map(str, sources))
    assert list(result["evaluation"]) == [*map(str, sources), "average"]
    states = [load_file(source) for source in sources]
    for name, tensor in load_file(folder / "weights.safetensors").items():
        mean = sum(state[name].double() for state in states) / 3
        assert tensor.equal(mean.to(tensor.dtype))
    with (folder / "averages.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4 * 3 * 2
    for row in rows:
        number = result["evaluation"][row["model"]][row["split"]][row["metric"]]
        assert float(row["value"]) == number

    before = {path: path.stat().st_mtime_ns for path in files(folder) if ".hydra" not in path.parts}
    again = averaged(pattern, cwd=tmp_path)
    assert "done before" in again.stdout
    assert again.stdout.endswith(done.stdout)
    assert {path: path.stat().st_mtime_ns for path in before} == before

    checkpoint = folder / "weights.safetensors"
    run("eval.py", f"checkpoint={checkpoint}", "output_dir=evals", cwd=tmp_path)
    found = json.loads(only(tmp_path, "evals/*/result.json").read_text())["evaluation"]
    for split, numbers in result["evaluation"]["average"].items():
        assert found["average"][split] == pytest.approx(numbers, abs=1e-6)
    both = f"checkpoints=[{sources[0]},{checkpoint}]"
    assert "average" in averaged(both, "method=greedy_soup", "splits=[test]", cwd=tmp_path).stdout


def test_an_average_of_files_that_have_changed_is_made_anew(trained, tmp_path):
    first, second, *_ = trained.glob("outputs/train_*/seed_*/weights/step_18.safetensors")
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(first.read_bytes())
    averaged("checkpoints=[copy.safetensors]", cwd=tmp_path)
    copy.write_bytes(second.read_bytes())
    assert "done before" not in averaged("checkpoints=[copy.safetensors]", cwd=tmp_path).stdout
    found = load_file(only(tmp_path, "outputs/average_*/weights.safetensors"))
    assert all(tensor.equal(load_file(second)[name]) for name, tensor in found.items())


def test_a_run_is_averaged_over_its_steps(trained, tmp_path):
    parent = only(trained, "outputs/train_*/seed_1")
    averaged(f"run={parent}", "method=ema", "decay=0.25", cwd=tmp_path)
    averaged(f"run={parent}", "steps=[1ep,18it]", "method=ema", "decay=0.25", cwd=tmp_path)
    first, second = (load_file(parent / "weights" / f"step_{i}.safetensors") for i in (9, 18))
    found = list(tmp_path.glob("outputs/average_*/weights.safetensors"))
    assert len(found) == 2
    for path in found:
        for name, tensor in load_file(path).items():
            expected = 0.25 * first[name].double() + 0.75 * second[name].double()
            assert tensor.equal(expected.to(tensor.dtype))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "checkpoints=[...] or run=DIR says what to average, got neither"),
        (["checkpoints=[{a}]", "run={run}"], "got both"),
        (["checkpoints=[{a}]", "steps=[1ep]"], "steps=[1ep]: only run=DIR takes them"),
        (["checkpoints=[]"], "checkpoints=[]: nothing to average"),
        (["checkpoints=[nothing_*.safetensors]"], "checkpoints=nothing_*.safetensors: no file"),
        (["checkpoints=[{run}/weights/step_7.safetensors]"], "that folder has best, step_9"),
        (["run={run}", "steps=[7it]"], "that folder has best, step_9, step_18"),
        (["run=nowhere"], "run=nowhere: no checkpoint nowhere/weights/step_0.safetensors"),
        (["checkpoints=[{a},{other}]"], "{other} is not of the architecture of {a}: model.width"),
        (["checkpoints=[{a},nan.safetensors]"], "nan.safetensors: output.bias has values that"),
        (["checkpoints=[{a},keys.safetensors]"], "keys.safetensors is not of the architecture of"),
        (["checkpoints=[{a},shape.safetensors]"], "output.bias is (9,), there it is (10,)"),
        (["checkpoints=[{a}]", "method=weighted"], "weights: method=weighted needs a value"),
        (["checkpoints=[{a}]", "method=weighted", "weights=[1,2]"], "got 2 for 1"),
        (["checkpoints=[{a}]", "method=weighted", "weights=[0]"], "their sum must be positive"),
        (["checkpoints=[{a}]", "decay=0.5"], "decay=0.5: only method=ema uses it, not uniform"),
        (["checkpoints=[{a}]", "method=ema", "decay=1.0"], "decay=1.0: must be in [0, 1)"),
        (["checkpoints=[{a}]", "method=latest", "num=2"], "num=2: must be from 1 to 1"),
        (
            ["checkpoints=[{other}]", "method=greedy_soup", "dataset.val_fraction=0"],
            "needs a validation split; this data set has train, test",
        ),
        (["checkpoints=[{a}]", "method=soup"], "method=soup: must be one of uniform, weighted"),
    ],
)
def test_what_cannot_be_averaged_is_refused_before_any_work(arguments, message, trained, tmp_path):
    parent = only(trained, "outputs/train_*/seed_1")
    names = {
        "run": parent,
        "a": parent / "weights" / "step_18.safetensors",
        "other": only(trained, "wide/train_*/seed_1/weights/step_22.safetensors"),
    }
    weights, metadata = runs.load_weights(names["a"])
    bias = weights["output.bias"]
    changed = {"nan": bias / 0, "shape": bias[:9]}
    for name, tensor in changed.items():
        path = tmp_path / f"{name}.safetensors"
        runs.save_weights(path, weights | {"output.bias": tensor}, metadata)
    runs.save_weights(tmp_path / "keys.safetensors", weights | {"more": bias}, metadata)
    typed = [argument.format(**names) for argument in arguments]
    error = refused("average.py", *typed, "runtime.device=cpu", cwd=tmp_path)
    assert message.format(**names) in error
    assert not list(tmp_path.glob("outputs/average_*"))


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

    command = [sys.executable, str(REPOSITORY / "train.py"), *arguments, "output_dir=parts"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL) as process:
        deadline, seen = time.monotonic() + 120, set()
        while len(seen) < 5 and time.monotonic() < deadline:  # states written so far
            seen |= {path.stat().st_mtime_ns for path in tmp_path.glob("parts/*/*/state.pt")}
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
    assert not list(tmp_path.glob("parts/*/*/result.json")), "killed too late to prove anything"
    done = run("train.py", *arguments, "output_dir=parts", cwd=tmp_path)
    assert "going on from" in done.stdout

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
    command = [sys.executable, str(REPOSITORY / "train.py"), *arguments]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob("outputs/*/*/run.lock")) and time.monotonic() < deadline:
            time.sleep(0.01)
        refused("train.py", *arguments, "runtime.save_every=-1", cwd=tmp_path)
        assert process.wait(timeout=120) == 0
    folder = only(tmp_path, "outputs/train_*/seed_1")
    assert (folder / ".hydra").is_dir() and (folder / "result.json").exists()


BRANCHES = [
    *SMALL, *QUIET, "averaged=none", "dataset.augment=true", "child_length=1ep",
    "child_steps=[0ep,3it,1ep]", "runtime.num_threads=1",
]  # fmt: skip


def spawn(*arguments, cwd, **options):
    return run("spawn.py", *BRANCHES, *arguments, cwd=cwd, **options).stdout


def steps_made(output):
    """What a run of spawn.py counted."""
    return int(re.search(r"(\d+) optimizer steps made", output)[1])


def contents(tree):
    """Every file of a study but its log and what Hydra writes anew."""
    return {p: p.read_bytes() for p in files(tree) if ".hydra" not in p.parts}


def tables(tree):
    return [(tree / name).read_bytes() for name in ("averages.csv", "distance/distance.csv")]


def test_spawn_makes_a_tree_and_adds_what_is_asked_for_later(tmp_path):
    asked = ["spawn_steps=[0ep,1ep]", "child_seeds=[1,2]"]
    output = spawn(*asked, cwd=tmp_path)
    tree = only(tmp_path, "outputs/spawn_*/seed_1")
    assert f"results in {tree.relative_to(tmp_path)}" in output
    assert steps_made(output) == 2 * 11 + 4 * 11  # the parent's two epochs, each child's one
    folders = [f"children/{s}/seed_{n}" for s in ("0ep", "1ep") for n in (1, 2)]
    for folder in ("parent", *folders):
        assert (tree / folder / "result.json").exists()
        assert list((tree / folder / "weights").glob("step_*.safetensors"))
    for folder in (*folders, *(f.replace("children", "avg_back") for f in folders)):
        assert (tree / folder / "averages.csv").exists()
    assert {f.name for f in (tree / "avg_across/1ep").iterdir()} == {"seeds_1-2"}
    assert list((tree / "figures").glob("*.png"))
    with (tree / "averages.csv").open() as file:
        kinds = {(row["spawn_step"], row["kind"]) for row in csv.DictReader(file)}
    assert kinds == {(s, kind) for s in ("0", "11") for kind in ("child", "across", "back")}
    with (tree / "distance/distance.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 2 * 3 * 2  # spawn steps, child steps, children

    before = contents(tree)
    assert "done before: nothing to compute" in spawn(*asked, cwd=tmp_path)
    assert contents(tree) == before

    more = ["spawn_steps=[0ep,1ep]", "child_seeds=[1,2,3]"]
    assert steps_made(spawn(*more, cwd=tmp_path)) == 2 * 11  # child 3, at each spawn step
    output = spawn("spawn_steps=[0ep,5it,1ep]", "child_seeds=[1,2,3]", cwd=tmp_path)
    assert steps_made(output) == 5 + 3 * 11
    assert "replaying parent from 0ep to 5it" in output
    weights = [path for path in before if path.suffix == ".safetensors"]
    assert len(weights) > 10
    assert all(path.read_bytes() == before[path] for path in weights)


def test_a_sweep_over_spawn_steps_makes_the_tree_of_one_job(tmp_path):
    seeds, both = "child_seeds=[2,1]", "spawn_steps=[1ep,2ep]"
    spawn(both, seeds, "output_dir=one", cwd=tmp_path)
    output = spawn(both, seeds, "only=0", "output_dir=many", cwd=tmp_path)
    one, many = (only(tmp_path, f"{name}/spawn_*/seed_1") for name in ("one", "many"))
    assert one.relative_to(tmp_path / "one") == many.relative_to(tmp_path / "many")
    assert {folder.name for folder in (many / "children").iterdir()} == {"1ep"}
    assert steps_made(output) == 2 * 11 + 2 * 11
    sweep = ["--multirun", *BRANCHES, "spawn_step=1ep,2ep", both, seeds, "output_dir=many"]
    assert "2 jobs: 2 done, 0 failed" in run("spawn.py", *sweep, cwd=tmp_path).stdout
    assert tables(many) == tables(one)


def test_an_only_child_has_distances_with_empty_cells_for_siblings(tmp_path):
    spawn("spawn_steps=[1ep]", "child_seeds=[5]", cwd=tmp_path)
    with only(tmp_path, "outputs/spawn_*/seed_1/distance/distance.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3
    for row in rows:
        assert {k for k, v in row.items() if not v} == {"l2_siblings", "cosine_siblings"}
    assert not list(tmp_path.glob("outputs/spawn_*/seed_1/avg_across"))


def test_legs_of_splitting_and_merging_are_added_to(tmp_path):
    asked = ["child_seeds=[1,2]", "split_merge.strategy=decrease_lr"]
    first = spawn(*asked, "split_merge.num_legs=1", cwd=tmp_path)
    assert steps_made(first) == 2 * 11 + 2 * 11
    assert steps_made(spawn(*asked, "split_merge.num_legs=2", cwd=tmp_path)) == 2 * 11 + 2 * 11
    assert "done before" in spawn(*asked, "split_merge.num_legs=2", cwd=tmp_path)
    with only(tmp_path, "outputs/spawn_*/seed_1/legs/decrease_lr_*/legs.csv").open() as file:
        rows = list(csv.DictReader(file))
    roles = {(row["leg"], row["role"], row["seeds"]) for row in rows}
    each = [("parent", ""), ("child", "1"), ("child", "2"), ("average", "1-2")]
    assert roles == {(leg, *role) for leg in "01" for role in each}


def test_a_parent_begins_from_its_pretraining_or_from_a_file(tmp_path):
    asked = ["spawn_steps=[0ep]", "child_seeds=[1]"]
    spawn(*asked, "pretrain.hparams.epochs=1", "pretrain.optimizer.lr=0.2", cwd=tmp_path)
    tree = only(tmp_path, "outputs/spawn_*/seed_1")
    before = load_file(tree / "pretrain/weights/step_11.safetensors")
    parent = load_file(tree / "parent/weights/step_0.safetensors")
    assert before.keys() == parent.keys()
    assert all(tensor.equal(parent[name]) for name, tensor in before.items())

    file = only(tree, "parent/weights/step_22.safetensors")
    spawn(*asked, f"pretrain.weights={file}", "output_dir=given", cwd=tmp_path)
    (tmp_path / "moved.safetensors").write_bytes(file.read_bytes())
    moved = ["pretrain.weights=moved.safetensors", "output_dir=given"]
    assert "done before" in spawn(*asked, *moved, cwd=tmp_path)  # the same weights
    parent = load_file(only(tmp_path, "given/spawn_*/seed_1/parent/weights/step_0.safetensors"))
    assert all(tensor.equal(parent[name]) for name, tensor in load_file(file).items())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["pretrain.weights=nothing.safetensors"], "no checkpoint nothing.safetensors; that fold"),
        (["pretrain.weights=a", "pretrain.hparams.epochs=1"], "pretrain.weights=a: takes the pla"),
        (["spawn_steps=[9ep]"], "spawn_steps: 9ep lies after the end of training, 2ep"),
        (["child_steps=[2ep]"], "child_steps: 2ep lies after the end of training, 1ep"),
        (["spawn_steps=log", "only=50"], "only=50: must be from 0 to "),
        (["spawn_steps=null"], "spawn_steps: needs a value, spawn_steps=..."),
        (["scheduler=cosine", "spawn_steps=[2ep]"], "child_length=1ep: the children of 2ep would"),
        (["splits=[val]", "dataset.val_fraction=0"], "splits=val: this data set has train, test"),
        (["model.wide=3"], "model.wide=3: no such option; model takes"),
    ],
)
def test_a_study_that_cannot_be_made_is_refused_before_any_work(arguments, message, tmp_path):
    asked = ["spawn_steps=[0ep]", "child_seeds=[1,2]"]
    assert message in refused("spawn.py", *BRANCHES, *asked, *arguments, cwd=tmp_path)
    assert not list(tmp_path.glob("outputs/*"))


def test_two_jobs_at_once_train_each_leg_once(tmp_path):
    asked = [*BRANCHES, "spawn_steps=[0ep,1ep]", "child_seeds=[1,2]"]
    command = [sys.executable, str(REPOSITORY / "spawn.py"), *asked]
    jobs = [
        subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    outputs = [job.communicate(timeout=300)[0] for job in jobs]
    assert [job.returncode for job in jobs] == [0, 0]
    counted = [0 if "done before" in output else steps_made(output) for output in outputs]
    assert sum(counted) == 2 * 11 + 4 * 11


MOMENTS = [  # files that appear, in this order, while a study is made
    "parent/state.pt",
    "children/0ep/*.pt",  # of both, which are trained together
    "avg_across/0ep/*/averages.csv",
    "children/2ep/seed_2/weights/step_25.safetensors",
]


def test_a_study_killed_again_and_again_ends_as_an_uninterrupted_one(tmp_path):
    asked = ["spawn_steps=[0ep,2ep]", "child_seeds=[2,3]"]
    asked += ["save_averages=true", "runtime.save_every=0"]
    spawn(*asked, "output_dir=whole", cwd=tmp_path)
    whole = only(tmp_path, "whole/spawn_*/seed_1")

    command = [sys.executable, str(REPOSITORY / "spawn.py"), *BRANCHES, *asked, "output_dir=parts"]
    for moment in MOMENTS:
        with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL) as process:
            while not list(tmp_path.glob(f"parts/spawn_*/seed_1/{moment}")):
                assert process.poll() is None, f"done before {moment} was seen"
                time.sleep(0.001)
            process.send_signal(signal.SIGKILL)
    parts = only(tmp_path, "parts/spawn_*/seed_1")
    assert not (parts / "averages.csv").exists(), "killed too late to prove anything"
    spawn(*asked, "output_dir=parts", cwd=tmp_path)
    assert tables(parts) == tables(whole)
    assert sorted(p.relative_to(parts) for p in files(parts)) == sorted(
        p.relative_to(whole) for p in files(whole)
    )
    for path in whole.rglob("*.safetensors"):
        assert (parts / path.relative_to(whole)).read_bytes() == path.read_bytes()


LEVELS = [*SMALL, *QUIET, "pruning.fraction=0.5", "runtime.num_threads=1", "averaged=none"]


ASKED = ["levels=2", "rewind_step=3it", "branch=randomly_prune", "branch_levels=[1]"]


def prune(*arguments, cwd, **options):
    return run("prune.py", *LEVELS, *arguments, cwd=cwd, **options).stdout


def kept(run):
    """The mask of a level or branch."""
    return {name: mask.bool() for name, mask in load_file(run / "mask.safetensors").items()}


def is_sparse(path, masks):
    weights = load_file(path)
    return all(
        not weights[name][~mask].any() and weights[name].any() for name, mask in masks.items()
    )


@pytest.fixture(scope="module")
def tickets(tmp_path_factory):
    """A study of two levels and a branch of one, with what prune.py said."""
    folder = tmp_path_factory.mktemp("tickets")
    output = prune(*ASKED, cwd=folder)
    return only(folder, "outputs/prune_*/seed_1"), output


def test_prune_makes_levels_with_their_tables_and_figures(tickets):
    tree, output = tickets
    assert f"results in outputs/{tree.parent.name}/seed_1" in output
    assert steps_made(output) == 22 + 3 * 19
    for level in (1, 2):
        masks = kept(tree / f"level_{level}")
        for path in (tree / f"level_{level}/weights").glob("*.safetensors"):
            assert is_sparse(path, masks)
        with (tree / f"level_{level}/sparsity.csv").open() as file:
            rows = {row["layer"]: row for row in csv.DictReader(file)}
        hidden = sum(int(row["num_kept"]) for name, row in rows.items() if "hidden" in name)
        assert hidden == (64 * 16 + 16 * 16) * 0.5**level
        assert rows["output.weight"]["density"] == "1.0"
    with (tree / "levels.csv").open() as file:
        rows = list(csv.DictReader(file))
    models = {(row["level"], row["model"], row["split"]) for row in rows if not row["branch"]}
    names, splits = ("plain", "best"), ("train", "val", "test")
    assert models == {(level, n, s) for level in "012" for n in names for s in splits}
    figures = {path.stem for path in (tree / "figures").glob("*.png")}
    assert figures == {*(f"accuracy_{name}" for name in names), "best_step", "sparsity"}


def test_levels_and_branches_are_added_later(tickets, tmp_path):
    shutil.copytree(tickets[0].parent, tmp_path / "outputs" / tickets[0].parent.name)
    tree = only(tmp_path, "outputs/prune_*/seed_1")
    before = contents(tree)
    assert "done before: nothing to compute" in prune(*ASKED, cwd=tmp_path)
    assert contents(tree) == before
    asked = ["levels=3", "rewind_step=3it", "branch=randomly_prune", "branch_levels=[1,3]"]
    output = prune(*asked, "compare=[outputs/prune_*]", cwd=tmp_path)
    assert steps_made(output) == 2 * 19
    trained = [path for path in before if "level_" in str(path)]
    assert len(trained) > 20 and all(path.read_bytes() == before[path] for path in trained)
    branch = only(tree, "level_3/randomly_prune_*")
    assert is_sparse(branch / "weights/step_22.safetensors", kept(branch))
    with (tree / "levels.csv").open() as file:
        branches = {(row["level"], row["branch"], row["folder"]) for row in csv.DictReader(file)}
    assert len(branches) == 6 and ("3", "randomly_prune", branch.name) in branches
    with (tree / "figures/accuracy_plain.csv").open() as file:
        curves = {row["curve"] for row in csv.DictReader(file)}
    assert curves == {"sparse_global", "sparse_global, randomly_prune"}


def test_children_of_levels_are_compared(tickets, tmp_path):
    shutil.copytree(tickets[0].parent, tmp_path / "outputs" / tickets[0].parent.name)
    tree = only(tmp_path, "outputs/prune_*/seed_1")
    asked = ["levels=2", "rewind_step=3it", "branch=instability", "branch_levels=[0,2]"]
    output = prune(*asked, "instability.alphas=3", cwd=tmp_path)
    assert steps_made(output) == 2 * 2 * 19
    with (tree / "instability.csv").open() as file:
        rows = list(csv.DictReader(file))
    keys = {(row["level"], row["seeds"], row["split"], row["metric"]) for row in rows}
    assert len(keys) == len(rows) == 2 * 2 * 2 and {row["seeds"] for row in rows} == {"1-2"}
    assert "instability (test, bn=reset, between children 1-2)" in output
    assert (tree / "figures/instability.png").exists()
    same = only(tree, "level_2/instability_*/seed_1/weights/step_22.safetensors")
    assert same.read_bytes() != (tree / "level_2/weights/step_22.safetensors").read_bytes()
    weights = [load_file(path) for path in (same, tree / "level_2/weights/step_22.safetensors")]
    assert all(part.equal(weights[1][name]) for name, part in weights[0].items())

    before = contents(tree)
    command = [sys.executable, "-X", "importtime", str(REPOSITORY / "prune.py"), *LEVELS, *asked]
    again = subprocess.run(
        [*command, "instability.alphas=3"], cwd=tmp_path, capture_output=True, text=True
    )
    assert "done before: nothing to compute" in again.stdout
    assert "src.pruning.instability" in again.stderr and "| torch\n" not in again.stderr
    assert contents(tree) == before


def test_every_script_takes_a_ticket_as_it_is(tickets, tmp_path):
    tree, _ = tickets
    masks, ticket = kept(tree / "level_2"), tree / "level_2/weights/step_22.safetensors"
    run("eval.py", f"checkpoint={ticket}", "splits=[test]", cwd=tmp_path)
    result = json.loads((tree / "level_2/result.json").read_text())["evaluation"]["plain"]["test"]
    found = json.loads(only(tmp_path, "outputs/eval_*/result.json").read_text())["evaluation"]
    assert found["plain"]["test"] == pytest.approx(result, abs=1e-6)

    best = tree / "level_2/weights/best.safetensors"
    averaged(f"checkpoints=[{ticket},{best}]", cwd=tmp_path)
    assert is_sparse(only(tmp_path, "outputs/average_*/weights.safetensors"), masks)

    asked = ["spawn_steps=[3it]", "child_seeds=[2]", "averages=[back]", "save_averages=true"]
    spawn(f"pretrain.weights={ticket}", *asked, cwd=tmp_path)
    weights = list(tmp_path.glob("outputs/spawn_*/**/weights/*.safetensors"))
    assert len(weights) >= 6 and all(is_sparse(path, masks) for path in weights)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["pruning.fraction=1.2"], "pruning.fraction: must be in (0, 1), got 1.2"),
        (["rewind_step=9ep"], "rewind_step=9ep: must lie before the end of training, 2ep"),
        (
            ["pruning.fractions=1"],
            "pruning.fractions=1: no such option; pruning takes fraction, ig",
        ),
        (["compare=[nowhere]"], "compare=nowhere: no levels.csv there"),
        (
            ["branch=instability", "instability.splits=[val]", "dataset.val_fraction=0"],
            "instability.splits=val: this data set has train, test",
        ),
    ],
)
def test_pruning_that_cannot_be_done_is_refused_before_any_work(arguments, message, tmp_path):
    assert message in refused("prune.py", *LEVELS, "levels=2", *arguments, cwd=tmp_path)
    assert not list(tmp_path.glob("outputs/*"))


def test_a_mask_of_another_model_in_the_tree_is_named(tickets, tmp_path):
    shutil.copytree(tickets[0].parent, tmp_path / "outputs" / tickets[0].parent.name)
    tree = only(tmp_path, "outputs/prune_*/seed_1")
    weights = load_file(tree / "level_2/mask.safetensors")
    wrong = {name: mask[:5] for name, mask in weights.items()}
    runs.save_weights(tree / "level_3/mask.safetensors", wrong, {"kind": "mask"})
    message = refused("prune.py", *LEVELS, "levels=3", "rewind_step=3it", cwd=tmp_path)
    assert "a mask of another model: its hidden.0.weight has shape (5, 64), and" in message


def test_pretraining_is_taken_off_every_level_and_lends_other_classes(tmp_path):
    asked = ["pretrain.hparams.epochs=1", "pretrain.dataset.unsupervised_labels=rotation"]
    output = prune("levels=1", *asked, "branch=retrain", "retrain.optimizer.lr=0.01", cwd=tmp_path)
    assert steps_made(output) == 3 * 11
    tree = only(tmp_path, "outputs/prune_*/seed_1")
    before = load_file(tree / "level_pretrain/weights/step_11.safetensors")
    assert before["output.bias"].shape == (4,)
    assert json.loads((tree / "level_1/result.json").read_text())["rewind_step"] == 11
    only(tree, "level_1/retrain_*/result.json")


STAGES = [  # files that appear, in this order, while a study is made
    "level_1/randomly_prune_*/state.pt",
    "level_2/mask.safetensors",
]


def test_pruning_killed_again_and_again_ends_as_uninterrupted(tickets, tmp_path):
    whole, asked = tickets[0], [*ASKED, "runtime.save_every=0"]
    command = [sys.executable, str(REPOSITORY / "prune.py"), *LEVELS, *asked]
    for stage in STAGES:
        with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL) as process:
            while not list(tmp_path.glob(f"outputs/prune_*/seed_1/{stage}")):
                assert process.poll() is None, f"done before {stage} was seen"
                time.sleep(0.001)
            process.send_signal(signal.SIGKILL)
    parts = only(tmp_path, "outputs/prune_*/seed_1")
    assert not (parts / "levels.csv").exists(), "killed too late to prove anything"
    prune(*asked, cwd=tmp_path)
    names = sorted(path.relative_to(whole) for path in files(whole))
    assert names == sorted(path.relative_to(parts) for path in files(parts))
    assert (parts / "levels.csv").read_bytes() == (whole / "levels.csv").read_bytes()
    for path in whole.rglob("*.safetensors"):
        assert (parts / path.relative_to(whole)).read_bytes() == path.read_bytes()


def test_wide_networks_are_trained_averaged_and_interpolated(tmp_path):
    wide = ["parametrization=ipllr", "parametrization.cap=1", "optimizer=sgd", "averaged=none"]
    run("train.py", "--multirun", *SMALL, *QUIET, *wide, "global_seed=1,2", cwd=tmp_path)
    first, second = sorted(tmp_path.glob("outputs/train_*/seed_*/weights/step_22.safetensors"))
    _, metadata = runs.load_weights(first)
    assert metadata["config"]["parametrization"]["cap"] == 1
    assert list(metadata["first_lrs"]) == ["hidden.0", "hidden.1", "output"]
    run("average.py", f"checkpoints=[{first},{second}]", *QUIET, cwd=tmp_path)
    assert only(tmp_path, "outputs/average_*/weights.safetensors")
    run("interpolate.py", f"start={first}", f"end={second}", "alphas=3", *QUIET, cwd=tmp_path)
    assert only(tmp_path, "outputs/interpolate_*/lines.csv")


def test_a_coordinate_check_ends_in_a_table_and_a_figure(tmp_path):
    small = ["parametrization=mup", "model.width=16,32", "model.depth=2", "global_seed=1"]
    small.append("hydra/launcher=basic")
    done = run("train.py", "experiment=coordinate_check", *small, cwd=tmp_path)
    assert "2 jobs: 2 done, 0 failed" in done.stdout
    table = only(tmp_path, "outputs/sweeps/*/coordinate_check.csv")
    with table.open() as file:
        rows = list(csv.DictReader(file))
    assert {(row["metric"], row["step"], row["theory"]) for row in rows} == {
        ("output", "0", "-0.5"),
        ("output_change", "1", "0.0"),
        ("output_change", "2", ""),
    }
    assert table.with_suffix(".png").exists()
    assert not list(tmp_path.glob("outputs/train_*/seed_1/weights"))
