import pandas as pd
import pytest

from isthmus.plots import sweeps
from tests.plots.wide_tables import job, metrics, ranks

OVERRIDES = ["experiment=x", "parametrization=mup", "model.width=128", "optimizer.lr=0.5"]


def test_what_a_job_was_given_is_named_by_columns_and_numbers_are_numbers(tmp_path):
    given = sweeps.typed_values(job(tmp_path, 0, [*OVERRIDES, "+global_seed=3"]))
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
    found = sweeps.job_rows(jobs, "metrics.csv")
    assert found["value"].tolist() == [1, 2, 1, 2] and set(found["width"]) == {128}
    assert found["seed"].isna().tolist() == [True, True, False, False]
    assert sweeps.job_rows([], "metrics.csv").empty


def test_a_training_that_diverged_has_no_numbers(tmp_path):
    jobs = [job(tmp_path, 0, OVERRIDES, loss=0.25), job(tmp_path, 1, OVERRIDES)]
    found = sweeps.job_results(jobs)
    assert found["status"].tolist() == ["done", "diverged"]
    assert found.loc[0, "train_loss"] == 0.25 and found.loc[0, "test_accuracy"] == 0.5
    assert found.loc[1, ["train_loss", "test_accuracy"]].isna().all()


def test_a_sweep_over_something_else_is_refused():
    table = pd.DataFrame({"width": [1]})
    sweeps.require_rows(table, ["width"], "lr_transfer")
    message = "lr_transfer: the sweep gives its jobs no parametrization, optimizer.lr"
    with pytest.raises(ValueError, match=message):
        sweeps.require_rows(table, ["parametrization", "width", "lr"], "lr_transfer")


SUFFIXES = ("csv", "pdf", "png")


def jobs_of(folder, table, **more):
    """A job for each network of a table."""
    keys = [key for key in ("parametrization", "depth", "width", "seed") if key in table]
    options = {"depth": "model.depth", "width": "model.width", "seed": "global_seed"}
    jobs = []
    for num, (values, part) in enumerate(table.groupby(keys)):
        pairs = zip(keys, values, strict=True)
        overrides = [f"{options.get(key, key)}={value}" for key, value in pairs]
        jobs.append(job(folder, num, overrides, part.drop(columns=keys), 1.0 + num, **more))
    return jobs


def written(folder, *names):
    return all((folder / f"{name}.{suffix}").exists() for name in names for suffix in SUFFIXES)


def test_a_coordinate_check_ends_in_a_table_and_its_figure(tmp_path, caplog):
    caplog.set_level("INFO")
    sweeps.coordinate_check(jobs_of(tmp_path, metrics()), tmp_path / "sweep")
    assert written(tmp_path / "sweep", "coordinate_check")
    assert "slope" in caplog.text and "coordinate_check.png" in caplog.text


def test_lr_transfer_ends_in_a_table_and_its_figure(tmp_path, caplog):
    caplog.set_level("INFO")
    jobs = [
        job(
            tmp_path,
            num,
            [f"parametrization={name}", f"model.width={width}", f"optimizer.lr={lr}"],
            loss=None if lr == 4.0 and name == "standard" else abs(lr - 1) + 1,
        )
        for num, (name, width, lr) in enumerate(
            (name, width, lr)
            for name in ("mup", "standard")
            for width in (8, 16)
            for lr in (0.5, 1.0, 4.0)
        )
    ]
    sweeps.transfer(jobs, tmp_path / "sweep")
    assert written(tmp_path / "sweep", "lr_transfer")
    assert "diverged" in caplog.text
    assert "mup: the best learning rates differ by a factor of 1" in caplog.text


def test_fits_end_in_a_table_and_their_figure(tmp_path):
    table = pd.DataFrame(
        [
            {"parametrization": "mup", "seed": s, "x": x, "target": x, "value": 0.0}
            for s in (1, 2)
            for x in (0.0, 1.0)
        ]
    )
    sweeps.fits(jobs_of(tmp_path, table, name="function.csv"), tmp_path / "sweep")
    assert written(tmp_path / "sweep", "function_fits")


def test_trainings_end_in_accuracies_and_figures_of_what_was_measured(tmp_path, caplog):
    caplog.set_level("INFO")
    table = pd.concat([metrics(widths=(16,), depths=(2,)), ranks()], ignore_index=True)
    jobs = jobs_of(tmp_path, table[["parametrization", "seed", "step", "metric", "value"]])
    jobs.append(job(tmp_path, 99, ["parametrization=mup", "global_seed=9"]))
    sweeps.trainings(jobs, tmp_path / "sweep")
    assert written(tmp_path / "sweep", "wide_curves", "ranks_trace", "ranks_frobenius")
    assert len(pd.read_csv(tmp_path / "sweep" / "results.csv")) == len(jobs)
    (text,) = [message for message in caplog.messages if "test_accuracy" in message]
    row = next(line.split() for line in text.splitlines() if line.split()[0] == "mup")
    assert row[-2:] == ["3", "1"] and row[1] == "0.5"  # seeds, diverged; of the others


def test_trainings_that_have_all_diverged_are_told_of_without_a_figure(tmp_path):
    jobs = [job(tmp_path, n, ["parametrization=ipllr", f"global_seed={n}"]) for n in (1, 2)]
    (tmp_path / "sweep").mkdir()
    sweeps.trainings(jobs, tmp_path / "sweep")
    assert [path.name for path in (tmp_path / "sweep").iterdir()] == ["results.csv"]
    (row,) = sweeps.accuracies(sweeps.job_results(jobs)).to_dict("records")
    assert row == {"parametrization": "ipllr", "seeds": 2, "diverged": 2}
