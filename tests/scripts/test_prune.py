"""`prune.py` as a user starts it."""

import csv
import json
import shutil
import subprocess
import sys
import time

import pytest
from safetensors.torch import load_file

from isthmus.store import files as store_files
from tests.scripts import (
    QUIET,
    REPOSITORY,
    SMALL,
    averaged,
    contents,
    files,
    only,
    refused,
    run,
    spawn,
    started,
    steps_made,
)

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
    output = prune(*ASKED, cwd=folder, rendered=True)
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
    assert "results are complete; nothing to compute" in prune(*ASKED, cwd=tmp_path)
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
    assert "results are complete; nothing to compute" in again.stdout
    assert "isthmus.pruning.results" in again.stderr
    assert not any(f"| {package}\n" in again.stderr for package in ("torch", "pandas", "numpy"))
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
        (["pruning.fraction=1.2"], "pruning.fraction=1.2: must be a number in (0, 1)"),
        (["rewind_step=9ep"], "rewind_step=9ep: must be before the end of training, 2ep"),
        (
            ["pruning.fractions=1"],
            "pruning.fractions=1: no such option; pruning takes fraction, ig",
        ),
        (["compare=[nowhere]"], "compare=nowhere: no levels.csv there"),
        (
            ["branch=instability", "instability.splits=[val]", "dataset.val_fraction=0"],
            "instability.splits=val: this data set has train, test",
        ),
        (["branch=instability", "instability.vary=[dropout]"], "instability.vary=[dropout]: "),
        (
            ["branch=instability", "instability.vary=[augmentation]", "dataset.augment=false"],
            "instability.vary=[augmentation]: ",
        ),
        (["runtime.num_jobs=2"], "num_jobs"),
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
    store_files.save_weights(tree / "level_3/mask.safetensors", wrong, {"kind": "mask"})
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
    for stage in STAGES:
        with started("prune.py", *LEVELS, *asked, cwd=tmp_path) as process:
            while not list(tmp_path.glob(f"outputs/prune_*/seed_1/{stage}")):
                assert process.is_alive(), f"done before {stage} was seen"
                time.sleep(0.001)
            process.kill()
    parts = only(tmp_path, "outputs/prune_*/seed_1")
    assert not (parts / "levels.csv").exists(), "killed too late to prove anything"
    prune(*asked, cwd=tmp_path)
    names = sorted(path.relative_to(whole) for path in files(whole))
    assert names == sorted(path.relative_to(parts) for path in files(parts))
    assert (parts / "levels.csv").read_bytes() == (whole / "levels.csv").read_bytes()
    for path in whole.rglob("*.safetensors"):
        assert (parts / path.relative_to(whole)).read_bytes() == path.read_bytes()
