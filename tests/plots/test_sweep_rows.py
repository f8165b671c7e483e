import pandas as pd
import pytest

from isthmus.plots import sweeps
from tests.plots.wide_tables import job

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
