"""Wide networks as a user asks for them."""

import csv

from src import runs
from tests.scripts import QUIET, SMALL, only, run


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
