"""Wide networks as a user asks for them."""

import csv

from safetensors.torch import load_file

from isthmus.store import files
from tests.scripts import QUIET, SMALL, only, run

WIDE = [*SMALL, *QUIET, "parametrization=ipllr", "parametrization.cap=1"]
WIDE += ["optimizer=sgd", "averaged=none"]


def test_wide_networks_are_trained_averaged_and_interpolated(tmp_path):
    run("train.py", "--multirun", *WIDE, "global_seed=1,2", cwd=tmp_path)
    first, second = sorted(tmp_path.glob("outputs/train_*/seed_*/weights/step_22.safetensors"))
    _, metadata = files.load_weights(first)
    assert metadata["config"]["parametrization"]["cap"] == 1
    assert list(metadata["first_lrs"]) == ["hidden.0", "hidden.1", "output"]
    run("average.py", f"checkpoints=[{first},{second}]", *QUIET[1:], cwd=tmp_path)
    assert only(tmp_path, "outputs/average_*/weights.safetensors")
    run("interpolate.py", f"start={first}", f"end={second}", "alphas=3", *QUIET[1:], cwd=tmp_path)
    assert only(tmp_path, "outputs/interpolate_*/lines.csv")


def test_wide_networks_are_pruned_and_branched_with_the_first_rates_of_the_whole(tmp_path):
    run("prune.py", *WIDE, "pruning.fraction=0.5", "levels=1", "rewind_step=3it", cwd=tmp_path)
    tree = only(tmp_path, "outputs/prune_*/seed_1")
    mask = load_file(tree / "level_1/mask.safetensors")
    weights, level = files.load_weights(tree / "level_1/weights/step_22.safetensors")
    _, dense = files.load_weights(tree / "level_0/weights/step_3.safetensors")
    assert level["first_lrs"] == dense["first_lrs"]
    assert all(not weights[name][~kept.bool()].any() for name, kept in mask.items())

    asked = ["spawn_steps=[0it,3it]", "child_steps=[1ep]", "child_seeds=[2]", "averages=[]"]
    run("spawn.py", *WIDE, *asked, cwd=tmp_path)
    tree = only(tmp_path, "outputs/spawn_*/seed_1")
    _, parent = files.load_weights(tree / "parent/weights/step_3.safetensors")
    for file in ("0ep/seed_2/weights/step_11", "3it/seed_2/weights/step_14"):
        _, child = files.load_weights(tree / f"children/{file}.safetensors")
        assert child["first_lrs"] == parent["first_lrs"]
        assert child["config"]["parametrization"] == parent["config"]["parametrization"]


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
