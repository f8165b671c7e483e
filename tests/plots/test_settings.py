import pytest

from isthmus.plots import runs as plots_runs
from tests.plots import made


def run(scheduler="constant", **values):
    """Parameters of a run, dots in their names written as two underscores."""
    named = {name.replace("__", "."): value for name, value in values.items()}
    return {"scheduler": scheduler, "global_seed": 1, "optimizer.lr": 0.1} | named


def test_runs_that_differ_in_their_seed_and_in_how_they_ran_do_not_differ():
    other = run(global_seed=2, runtime__device="cuda", output_dir="b", dataset__root="/data")
    other |= {"snapshots": "log", "dataset.fingerprint": "1f", "dataset.cache_dir": "c"}
    assert plots_runs.differing_settings([run(), other]) == []
    assert plots_runs.differing_settings([run()]) == []
    assert plots_runs.setting_label(run(), []) == ""


def test_a_group_with_other_options_differs_as_one():
    runs = [run(scheduler__warmup="0ep"), run("multistep", scheduler__gamma=0.1)]
    assert plots_runs.differing_settings(runs) == ["scheduler"]
    assert [plots_runs.setting_label(each, ["scheduler"]) for each in runs] == [
        "constant",
        "multistep",
    ]


def test_values_of_a_group_differ_if_they_do_so_within_one_option():
    runs = [run(), run("multistep", scheduler__gamma=0.1), run("multistep", scheduler__gamma=0.2)]
    assert plots_runs.differing_settings(runs) == ["scheduler", "scheduler.gamma"]
    words = [plots_runs.setting_label(each, plots_runs.differing_settings(runs)) for each in runs]
    assert words == [
        "constant",
        "multistep, scheduler.gamma=0.1",
        "multistep, scheduler.gamma=0.2",
    ]


def test_what_is_not_to_be_looked_at_is_not():
    runs = [run(averaged__decay=0.9), run(averaged__decay=[0.9, 0.99], optimizer__lr=1)]
    assert plots_runs.differing_settings(runs) == ["optimizer.lr", "averaged.decay"]
    assert plots_runs.differing_settings(runs, plots_runs.OF_AVERAGES) == ["optimizer.lr"]


def test_a_run_is_read_as_it_was_typed(tmp_path):
    folder = made.training(tmp_path / "train_1" / "seed_7", 7, "multistep", 0.5)
    found = plots_runs.read_settings(folder)
    assert found["scheduler"] == "multistep" and found["scheduler.gamma"] == 0.1
    assert (found["optimizer.lr"], found["global_seed"], found["model.width"]) == (0.5, 7, [16])
    assert plots_runs.read_command(folder) == (
        "python train.py scheduler=multistep optimizer.lr=0.5 global_seed=7 model.width=[16]"
    )


def test_a_group_that_is_off_is_named_by_its_option(tmp_path):
    made.config(tmp_path, {"averaged": "none"}, {"averaged": None, "global_seed": 1}, [])
    assert plots_runs.read_settings(tmp_path) == {"averaged": "none", "global_seed": 1}


def test_a_run_within_a_study_is_named_by_its_place(tmp_path):
    assert plots_runs.read_settings(tmp_path / "children" / "1ep" / "seed_2") == {
        "folder": "children/1ep"
    }
    assert plots_runs.read_settings(tmp_path / "prune_1" / "level_3") == {
        "folder": "prune_1/level_3"
    }
    assert plots_runs.read_command(tmp_path / "children") is None


def test_the_command_of_a_clustering_and_of_a_study_is_that_of_the_job(tmp_path):
    made.config(tmp_path / "seed_1", {}, {}, ["compare=[outputs/prune_*]", "a=b c"], "prune")
    words = "python prune.py 'compare=[outputs/prune_*]' 'a=b c'"
    assert plots_runs.read_command(tmp_path / "seed_1" / "clustering_1") == words
    assert plots_runs.read_command(tmp_path) == words


@pytest.mark.parametrize("typed", ["a='b'", "a=$HOME", "a=*"])
def test_an_argument_reaches_the_shell_as_it_was(typed, tmp_path):
    import shlex

    made.config(tmp_path, {}, {}, [typed])
    assert shlex.split(plots_runs.read_command(tmp_path) or "")[2:] == [typed]
