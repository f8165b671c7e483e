import numpy as np
import pandas as pd
import pytest
import yaml

from isthmus.plots import runs as plots_runs
from isthmus.plots.runs import TrainingRuns
from tests.plots import made
from tests.plots.wide_tables import job


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


def study(root, *folders):
    return TrainingRuns([plots_runs.read_training(root / folder) for folder in folders])


def test_over_seeds_each_seed_counts_once():
    points = pd.DataFrame(
        [("a", "1", 0.1), ("a", "1", 0.1), ("a", "2", 0.4), ("b", "10", 1.0)],
        columns=["model", "seed", "value"],
    )
    first, second = plots_runs.mean_over_seeds(points, ["model"]).to_dict("records")
    assert first["value"] == pytest.approx(0.25)
    assert first["std"] == pytest.approx(np.std([0.1, 0.4], ddof=1))
    assert (first["lowest"], first["highest"]) == (0.1, 0.4)
    assert (first["num_seeds"], first["seeds"]) == (2, "1 2")
    assert (second["seeds"], second["num_seeds"], np.isnan(second["std"])) == ("10", 1, True)


def test_seeds_are_listed_by_value():
    assert plots_runs.join_numbers(pd.Series(["10", "2", "1"])) == "1 2 10"


def test_trainings_have_their_setting_and_seed(tmp_path):
    made.trainings(tmp_path, seeds=(1, 12), lrs=(0.1,))
    found = study(tmp_path, "train_constant_0.1/seed_1", "train_multistep_0.1/seed_12")
    assert found.settings == ["constant", "multistep"]
    rows = found.metrics.groupby(["setting", "seed"]).size()
    assert list(rows.index) == [("constant", "1"), ("multistep", "12")]
    assert found.runs[0].iterations_per_epoch == made.PER_EPOCH


def test_predictions_are_read_as_they_were_made_with_epochs(tmp_path):
    made.training(tmp_path / "a" / "seed_3", 3)
    (one,) = study(tmp_path, "a/seed_3").predictions
    assert (one.setting, one.seed) == ("", "3")
    assert one.epochs["plain"].tolist() == list(range(made.NUM_EPOCHS + 1))
    assert one.indices.tolist() == made.INDICES.tolist()
    for model, bits in made.correct(3).items():
        assert np.array_equal(one.correct[model], bits)


def test_trainings_that_differ_in_the_decays_of_their_averages_are_one(tmp_path):
    for decay in (0.9, 0.99):
        models, values = ("plain", f"ema_{decay}"), {"averaged": {"decay": decay}}
        made.training(tmp_path / f"{decay}" / "seed_1", models=models, values=values)
    both = study(tmp_path, "0.9/seed_1", "0.99/seed_1")
    assert both.settings == ["", ""]
    (one,) = both.predictions
    assert set(one.correct) == {"plain", "ema_0.9", "ema_0.99"}


def test_a_study_without_predictions_says_so(tmp_path):
    folder = made.training(tmp_path / "a" / "seed_1")
    (folder / "predictions.npz").unlink()
    with pytest.raises(ValueError, match="^nothing to draw: none of 1 runs has predictions.npz$"):
        study(tmp_path, "a/seed_1").predictions  # noqa: B018


def test_a_line_that_is_being_written_is_left_out(tmp_path):
    folder = made.training(tmp_path / "a" / "seed_1")
    with (folder / "metrics.csv").open("a") as file:
        file.write("28,7,val,plain,accuracy,0.4")
    assert len(plots_runs.read_training(folder).metrics) == len(made.metrics())


def test_another_table_and_an_empty_one_are_refused(tmp_path):
    (tmp_path / "metrics.csv").write_text("a,b\n1,2\n")
    with pytest.raises(
        ValueError, match="metrics.csv: has no column step, epoch, .*; it has a, b$"
    ):
        plots_runs.read_training(tmp_path)
    made.metrics()[:0].to_csv(tmp_path / "metrics.csv", index=False)
    with pytest.raises(ValueError, match="^nothing to draw: .*metrics.csv has no rows$"):
        plots_runs.read_training(tmp_path)


OVERRIDES = ["experiment=x", "parametrization=mup", "model.width=128", "optimizer.lr=0.5"]


def test_what_a_job_was_given_is_named_by_columns_and_numbers_are_numbers(tmp_path):
    given = plots_runs.typed_values(job(tmp_path, 0, [*OVERRIDES, "+global_seed=3"]))
    assert given == {
        "experiment": "x",
        "parametrization": "mup",
        "width": 128,
        "lr": 0.5,
        "seed": 3,
    }


def test_rows_are_those_of_all_jobs_that_are_done(tmp_path):
    table = pd.DataFrame({"step": [0, 1], "value": [1.0, 2.0]})
    jobs = [
        job(tmp_path, 0, OVERRIDES, table, loss=1.0),
        job(tmp_path, 1, OVERRIDES, table),
        job(tmp_path, 2, [*OVERRIDES, "global_seed=2"], table, loss=1.0),
    ]
    found = plots_runs.job_rows(jobs, "metrics.csv")
    assert found["value"].tolist() == [1, 2, 1, 2] and set(found["width"]) == {128}
    assert found["seed"].isna().tolist() == [True, True, False, False]
    assert plots_runs.job_rows([], "metrics.csv").empty


def test_a_training_that_diverged_has_no_numbers(tmp_path):
    jobs = [job(tmp_path, 0, OVERRIDES, loss=0.25), job(tmp_path, 1, OVERRIDES)]
    found = plots_runs.job_results(jobs)
    assert found["status"].tolist() == ["done", "diverged"]
    assert found.loc[0, "train_loss"] == 0.25 and found.loc[0, "test_accuracy"] == 0.5
    assert found.loc[1, ["train_loss", "test_accuracy"]].isna().all()


def test_a_sweep_over_something_else_is_refused():
    table = pd.DataFrame({"width": [1]})
    plots_runs.require_rows(table, ["width"], "lr_transfer")
    message = "lr_transfer: the sweep gives its jobs no parametrization, optimizer.lr"
    with pytest.raises(ValueError, match=message):
        plots_runs.require_rows(table, ["parametrization", "width", "lr"], "lr_transfer")


def test_numbers_in_labels_have_three_digits_or_as_many_as_tell_them_apart():
    assert plots_runs.value_text(0.0123456789) == "0.0123"
    assert plots_runs.value_text([0.9, 0.99]) == "[0.9,0.99]"
    assert plots_runs.value_text(123456) == "123456"
    rates = [{"optimizer.lr": rate, "seeds": 1} for rate in (0.1, 0.2, 1 / 3)]
    assert plots_runs.label_digits(rates, ["optimizer.lr"]) == {"optimizer.lr": 3}
    near = [{"optimizer.lr": rate} for rate in (0.1, 0.10004)]
    assert plots_runs.label_digits(near, ["optimizer.lr"]) == {"optimizer.lr": 5}


def test_parameters_that_follow_from_others_are_not_in_labels():
    several = [run("a", size=1, classes=10), run("b", size=2, classes=9), run("b", size=3)]
    names = ["scheduler", "size", "classes"]
    assert plots_runs.distinguishing(several, names) == ["scheduler", "size"]


def test_trainings_are_in_the_order_typed_and_numbers_by_value(tmp_path):
    jobs = [("multistep", 0.5), ("multistep", 0.1), ("constant", 0.5), ("constant", 0.1)]
    folders = []
    for number, (scheduler, lr) in enumerate(jobs):
        name = f"train_{9 - number}"  # a hash is in no order
        folders.append(made.training(tmp_path / name / "seed_1", 1, scheduler, lr))
        file = folders[-1] / ".hydra" / "hydra.yaml"
        content = yaml.safe_load(file.read_text())
        content["hydra"]["job"]["num"] = number
        file.write_text(yaml.safe_dump(content))
    trainings = [plots_runs.read_training(folder) for folder in sorted(folders)]
    found = TrainingRuns(plots_runs.sort_trainings(trainings)).settings
    assert found == [
        f"{s}, optimizer.lr={lr}" for s in ("multistep", "constant") for lr in (0.1, 0.5)
    ]
