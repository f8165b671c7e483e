import csv

import optuna
import pytest
from optuna.distributions import UniformDistribution
from optuna.trial import TrialState, create_trial

from isthmus import tuning

# Of a function that Optuna calls experimental, by which a study is made up.
pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
SPACE = {name: UniformDistribution(0, 1) for name in ("optimizer.lr", "a")}


def study(*values, direction="maximize"):
    """A study whose value is its learning rate; None stands for a trial that failed."""
    made = optuna.create_study(direction=direction)
    for number, value in enumerate(values):
        params = {"optimizer.lr": value or 0.0, "a": (7 * number % 10) / 10}
        made.add_trial(
            create_trial(
                state=TrialState.FAIL if value is None else TrialState.COMPLETE,
                value=value,
                params=params,
                distributions=SPACE,
                user_attrs={"folder": f"f{number}", "error": "a:\n  b" if value is None else None},
            )
        )
    return made


def read(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_the_table_has_a_row_a_trial_and_a_column_an_option(tmp_path):
    made = study(0.5, None)
    made.ask()
    tuning.write_trials(made, tmp_path / "trials.csv")
    rows = read(tmp_path / "trials.csv")
    assert list(rows[0]) == [*tuning.TRIAL_COLUMNS, "a", "optimizer.lr"]
    assert [row["state"] for row in rows] == ["complete", "failed", "open"]
    assert [row["value"] for row in rows] == ["0.5", "", ""]
    assert [row["error"] for row in rows] == ["", "a: b", ""]
    assert [row["folder"] for row in rows] == ["f0", "f1", ""]
    assert [row["optimizer.lr"] for row in rows] == ["0.5", "0.0", ""]


def test_the_best_trial_is_that_of_the_largest_value():
    best = tuning.best_trial(study(0.1, None, 0.9, 0.5))
    assert (best.number, best.value) == (2, 0.9)


def test_where_none_is_complete_none_is_best():
    assert tuning.best_trial(study(None)) is None


def test_what_a_value_depends_on_alone_has_all_the_importance(tmp_path):
    tuning.write_importance(study(*(i / 20 for i in range(20))), tmp_path / "importance.csv")
    shares = {row["option"]: float(row["importance"]) for row in read(tmp_path / "importance.csv")}
    assert list(shares) == ["optimizer.lr", "a"]
    assert shares["optimizer.lr"] > 0.9
    assert sum(shares.values()) == pytest.approx(1)


@pytest.mark.parametrize("values", [[], [None], [0.5], [0.5, 0.5]])
def test_where_no_values_differ_nothing_is_important(values, tmp_path):
    tuning.write_importance(study(*values), tmp_path / "importance.csv")
    assert (tmp_path / "importance.csv").read_text() == "option,importance\n"


def test_importance_is_the_same_each_time(tmp_path):
    made = study(*((i * i % 17) / 17 for i in range(17)))
    for name in ("a", "b"):
        tuning.write_importance(made, tmp_path / f"{name}.csv")
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
