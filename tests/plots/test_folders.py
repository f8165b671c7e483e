import json

import pytest

from isthmus.plots import folders
from tests.plots import made


def kinds(runs):
    return [folder.kind for folder in folders.find_folders(runs)]


def test_every_kind_is_found_below_a_folder_and_a_run_within_a_study_is_its_own(tmp_path):
    made.everything(tmp_path)
    assert sorted(kinds(str(tmp_path))) == sorted(
        [*["train"] * 4, "spawn", *["interpolate"] * 2, "plane", "prune", "extract", "tune"]
        + ["coordinates", "transfer", "fits", "wide"]
    )
    assert kinds(f"{tmp_path}/spawn_*") == ["spawn"]
    assert kinds(str(tmp_path / "spawn_1" / "seed_1" / "parent")) == ["train"]  # asked for


def test_paths_globs_and_tables_name_folders_each_once(tmp_path):
    made.trainings(tmp_path, seeds=(1, 2), lrs=(0.1,))
    assert kinds([f"{tmp_path}/*/seed_1", f"{tmp_path}/*constant*"]) == ["train"] * 3
    assert kinds(f"{tmp_path}/*/seed_2/metrics.csv") == ["train"] * 2


def test_figures_drawn_before_are_no_runs(tmp_path):
    made.training(tmp_path / "plots" / "ema_study_1")
    made.training(tmp_path / "train_1" / "seed_1")
    assert kinds(str(tmp_path)) == ["train"]


def test_a_training_within_a_study_that_has_no_tables_is_left_out(tmp_path):
    legs = made.training(tmp_path / "spawn_1" / "seed_1" / "children" / "1ep" / "seed_2")
    for file in (legs / ".hydra").iterdir():
        file.unlink()
    (legs / ".hydra").rmdir()
    made.training(tmp_path / "train_1" / "seed_1")
    assert kinds(str(tmp_path)) == ["train"]


def test_what_matches_nothing_is_told_with_what_there_is(tmp_path):
    made.training(tmp_path / "train_1" / "seed_1")
    message = "nope_.: matches nothing; .* has train_1$"
    with pytest.raises(FileNotFoundError, match=message):
        folders.find_folders(f"{tmp_path}/nope_*")
    with pytest.raises(FileNotFoundError, match="no/such: matches nothing; .* has train_1$"):
        folders.find_folders(f"{tmp_path}/no/such")
    for number in range(20):
        (tmp_path / f"other_{number:02}").mkdir()
    with pytest.raises(FileNotFoundError, match=r"other_00, .*other_11, ... \(21\)$"):
        folders.find_folders([f"{tmp_path}/train_1", f"{tmp_path}/nope"])


def test_what_has_no_tables_is_told_with_those_that_there_could_be(tmp_path):
    (tmp_path / "a").mkdir()
    message = "a, and no folder there has tables to draw: metrics.csv; averages.csv . distance/"
    with pytest.raises(FileNotFoundError, match=message):
        folders.find_folders(str(tmp_path / "a"))


def test_a_figure_without_its_table_is_refused_with_those_that_there_are(tmp_path):
    folder = made.training(tmp_path / "train_1" / "seed_1")
    folders.check_figure("stability", folders.find_folders(str(folder)))
    (folder / "predictions.npz").unlink()
    message = (
        r"^figure=stability: needs predictions.npz; what matches \(1 folders\) has metrics.csv, "
        "for ema_study, schedule_decay_table, lr_table, weight_difference, compare, report$"
    )
    with pytest.raises(ValueError, match=message):
        folders.check_figure("stability", folders.find_folders(str(folder)))
    with pytest.raises(
        ValueError, match="^figure=accuracy_plain: needs averages.csv or levels.csv"
    ):
        folders.check_figure("accuracy_plain", folders.find_folders(str(folder)))
    folders.check_figure("report", folders.find_folders(str(folder)))


def sweep(root, *jobs):
    """The folder of a sweep whose jobs had these folders."""
    folder = root / "sweeps" / "2026-01-01"
    (folder / "jobs").mkdir(parents=True)
    for number, job in enumerate(jobs):
        record = {"job": number, "folder": str(job), "status": "done"}
        (folder / "jobs" / f"{number}.json").write_text(json.dumps(record))
    return folder


def test_a_sweep_stands_for_the_runs_of_its_jobs_in_their_order(tmp_path):
    runs = [made.training(tmp_path / f"train_{name}" / "seed_1") for name in "cab"]
    study = made.of_spawn(tmp_path / "spawn_1" / "seed_1")
    folder = sweep(tmp_path, *runs[:2], study, runs[1], tmp_path / "gone")
    found = folders.find_folders(str(folder))
    assert [each.path for each in found] == [*runs[:2], study]
    assert sorted(kinds(str(tmp_path))) == ["spawn", "train", "train", "train"]  # each once


def test_a_sweep_that_was_moved_with_its_runs_finds_them(tmp_path):
    made.training(tmp_path / "there" / "train_1" / "seed_1")
    folder = sweep(tmp_path / "there", tmp_path / "here" / "train_1" / "seed_1")
    assert kinds(str(folder)) == ["train"]


def test_a_folder_that_exists_as_it_is_written_is_no_glob(tmp_path):
    made.training(tmp_path / "a[1]" / "train_1" / "seed_1")
    made.training(tmp_path / "a1" / "train_1" / "seed_2")
    (found,) = folders.find_folders(f"{tmp_path}/a[1]/train_*")
    assert found.path == tmp_path / "a[1]" / "train_1" / "seed_1"
