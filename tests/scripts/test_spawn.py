"""`spawn.py` as a user starts it."""

import csv
import json
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

from tests.scripts import (
    BRANCHES,
    QUIET,
    SECONDS,
    SMALL,
    contents,
    files,
    only,
    refused,
    run,
    spawn,
    started,
    steps_made,
)


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
    assert "results are complete; nothing to compute" in spawn(*asked, cwd=tmp_path)
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
    spawn("spawn_steps=[1ep]", "child_seeds=[5]", cwd=tmp_path, rendered=True)
    figures = list(tmp_path.glob("outputs/spawn_*/seed_1/figures/*.png"))
    assert figures and all(path.stat().st_size > 1000 for path in figures)
    with only(tmp_path, "outputs/spawn_*/seed_1/distance/distance.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3
    for row in rows:
        assert {k for k, v in row.items() if not v} == {"l2_siblings", "cosine_siblings"}
    assert not list(tmp_path.glob("outputs/spawn_*/seed_1/avg_across"))


def spawn_legs(*arguments, cwd):
    """Legs alone, which have no child steps."""
    words = [word for word in BRANCHES if not word.startswith("child_steps")]
    return run("spawn.py", *words, *arguments, cwd=cwd).stdout


def test_legs_of_splitting_and_merging_are_added_to(tmp_path):
    asked = ["child_seeds=[1,2]", "split_merge.strategy=decrease_lr"]
    first = spawn_legs(*asked, "split_merge.num_legs=1", cwd=tmp_path)
    assert steps_made(first) == 2 * 11 + 2 * 11
    assert steps_made(spawn_legs(*asked, "split_merge.num_legs=2", cwd=tmp_path)) == 2 * 11 + 2 * 11
    assert "results are complete" in spawn_legs(*asked, "split_merge.num_legs=2", cwd=tmp_path)
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
    assert "results are complete" in spawn(*asked, *moved, cwd=tmp_path)  # the same weights
    parent = load_file(only(tmp_path, "given/spawn_*/seed_1/parent/weights/step_0.safetensors"))
    assert all(tensor.equal(parent[name]) for name, tensor in load_file(file).items())


def child(folder, seed):
    """All that a child is: its weights, its numbers, and who got which example right."""
    run = only(folder, f"spawn_*/seed_1/children/1ep/seed_{seed}")
    found = {path.name: path.read_bytes() for path in run.glob("weights/*.safetensors")}
    assert found
    result = json.loads((run / "result.json").read_text())
    with (run / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if "second" not in row["metric"]]
    return found, result["evaluation"], rows, (run / "predictions.npz").read_bytes()


def assert_one_child_everywhere(folder, families, *arguments):
    """A child, alone and among others, trained one by one and side by side, is bit for bit one."""
    found = []
    for number, (num_jobs, seeds) in enumerate(families):
        typed = ["spawn_steps=[1ep]", f"child_seeds={seeds}", f"runtime.num_jobs={num_jobs}"]
        typed += ["averages=[]", *QUIET, f"output_dir=family_{number}"]
        run("spawn.py", *arguments, *typed, cwd=folder)
        found.append(child(folder / f"family_{number}", seed=3))
    assert all(one == found[0] for one in found)


def test_a_child_is_the_same_whoever_is_asked_for_with_it_and_however_many_at_a_time(tmp_path):
    small = [*SMALL, "dataset.augment=true", "child_steps=[1ep]"]
    families = [(1, "[3]"), (1, "[3,2]"), (2, "[1,2,3,4]")]
    assert_one_child_everywhere(tmp_path, families, *small)


@pytest.mark.slow
def test_a_child_is_the_same_among_eight_others_after_twenty_epochs(tmp_path):
    seeds = ["[3]", "[2,3]", "[2,3,4]", "[2,3,4,5,6,7,8,9,10]"]
    families = [(num_jobs, several) for several in seeds for num_jobs in (1, 2)]
    quickstart = ["experiment=spawn_quickstart", "child_steps=[20ep]"]
    assert_one_child_everywhere(tmp_path, families, *quickstart)


@pytest.mark.slow
def test_jobs_of_joblib_train_children_side_by_side_too(tmp_path):
    asked = ["--multirun", *BRANCHES, "child_seeds=[1,2]", "spawn_step=0ep,1ep", "averages=[]"]
    asked += ["runtime.num_jobs=2", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    assert "2 jobs: 2 done, 0 failed" in run("spawn.py", *asked, cwd=tmp_path).stdout


def test_an_error_in_a_process_of_its_own_is_one_line(tmp_path):
    asked = ["spawn_steps=[1ep]", "child_seeds=[1,2,3]"]
    spawn(*asked[:1], "child_seeds=[1]", cwd=tmp_path)
    (state,) = tmp_path.glob("outputs/spawn_*/seed_1/parent/weights/step_11.state.pt")
    state.write_bytes(state.read_bytes()[:100])
    error = refused("spawn.py", *BRANCHES, *asked, "runtime.num_jobs=2", cwd=tmp_path)
    assert "step_11.state.pt" in error and "damaged" in error


@pytest.mark.slow
def test_children_of_legs_are_the_same_side_by_side(tmp_path):
    asked = ["child_seeds=[2,3]", "split_merge.num_legs=2", "split_merge.strategy=decrease_lr"]
    made = [
        steps_made(
            spawn_legs(*asked, f"runtime.num_jobs={n}", f"output_dir=jobs_{n}", cwd=tmp_path)
        )
        for n in (1, 2)
    ]
    assert made[0] == made[1] == 2 * (22 + 2 * 11)
    one, two = (only(tmp_path, f"jobs_{n}/spawn_*/seed_1/legs/*/legs.csv") for n in (1, 2))
    assert one.read_bytes() == two.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["vary=[dropout]"], "vary=[dropout]: "),
        (["vary=[augmentation]", "dataset.augment=false"], "vary=[augmentation]: "),
        (["vary=[]"], "vary=[]: "),
        (["vary=[data_order]", "hparams.batch_size=2000"], "vary=[data_order]: "),
        (["runtime.num_jobs=0"], "runtime.num_jobs=0: must be positive"),
        (["pretrain.weights=nothing.safetensors"], "no checkpoint nothing.safetensors; that fold"),
        (["pretrain.weights=a", "pretrain.hparams.epochs=1"], "pretrain.weights=a: takes the pla"),
        (["spawn_steps=[9ep]"], "spawn_steps: 9ep is after the end of training, 2ep"),
        (["child_steps=[2ep]"], "child_steps: 2ep is after the end of training, 1ep"),
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
    logs = [tmp_path / "one.log", tmp_path / "other.log"]
    first, second = (started("spawn.py", *asked, cwd=tmp_path, log=log) for log in logs)
    with first as one, second as other:
        for job in (one, other):
            job.join(SECONDS)
            assert job.exitcode == 0
    outputs = [log.read_text() for log in logs]
    counted = [0 if "results are complete" in output else steps_made(output) for output in outputs]
    assert sum(counted) == 2 * 11 + 4 * 11


MOMENTS = [  # files that appear, in this order, while a study is made
    "parent/state.pt",
    "children/0ep/*/state.pt",
    "children/2ep/seed_2/weights/step_25.safetensors",
    "avg_across/0ep/*/averages.csv",
]


def processes_in(folder):
    """Processes that work in a folder."""
    return [path for path in Path("/proc").glob("[0-9]*/cwd") if links_to(path, folder)]


def links_to(path, folder):
    try:
        return path.readlink() == folder
    except OSError:
        return False


@pytest.mark.parametrize(
    ("num_jobs", "moments"),
    [(1, MOMENTS), pytest.param(2, MOMENTS[1:3], marks=pytest.mark.slow)],
)
def test_a_study_killed_again_and_again_ends_as_an_uninterrupted_one(tmp_path, num_jobs, moments):
    asked = ["spawn_steps=[0ep,2ep]", "child_seeds=[2,3]"]
    asked += ["save_averages=true", "runtime.save_every=0"]
    spawn(*asked, "output_dir=whole", cwd=tmp_path)
    whole = only(tmp_path, "whole/spawn_*/seed_1")

    asked.append(f"runtime.num_jobs={num_jobs}")
    for moment in moments:
        with started("spawn.py", *BRANCHES, *asked, "output_dir=parts", cwd=tmp_path) as process:
            while not list(tmp_path.glob(f"parts/spawn_*/seed_1/{moment}")):
                assert process.is_alive(), f"done before {moment} was seen"
                time.sleep(0.001)
            process.kill()
    waited = time.monotonic()
    while processes_in(tmp_path):
        assert time.monotonic() - waited < 60, "a process goes on after the one that started it"
        time.sleep(0.1)
    parts = only(tmp_path, "parts/spawn_*/seed_1")
    assert not (parts / "averages.csv").exists(), "killed too late to prove anything"
    spawn(*asked, "output_dir=parts", cwd=tmp_path)
    assert tables(parts) == tables(whole)
    assert sorted(p.relative_to(parts) for p in files(parts)) == sorted(
        p.relative_to(whole) for p in files(whole)
    )
    for path in whole.rglob("*.safetensors"):
        assert (parts / path.relative_to(whole)).read_bytes() == path.read_bytes()
