import pandas as pd

from isthmus.plots import sweeps
from tests.plots.wide_tables import job, metrics, ranks

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
