import csv

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, UniformDistribution
from optuna.samplers import GridSampler, RandomSampler
from optuna.trial import TrialState, create_trial

from isthmus import tuning
from isthmus.tuning import SharedStudy

SPACE = {"x": UniformDistribution(0, 1), "c": CategoricalDistribution(("a", "b"))}
DONE = {"status": "done", "folder": "outputs/a", "seconds": 1.0, "error": None}


@pytest.fixture
def worker(tmp_path):
    """A function that makes one more worker of a study; `gone` lets it vanish as a killed one."""

    def make(folder=tmp_path, sampler=None):
        storage = f"sqlite:///{tmp_path}/new/study.db"
        return SharedStudy("s", storage, sampler or RandomSampler(seed=1), "maximize", folder)

    return make


def gone(study):
    study.presence.release()


def states(study):
    return [trial.state.name for trial in study.study.get_trials()]


def test_a_study_goes_on_to_so_many_trials_in_all(worker):
    first = worker()
    for claim in first.claim(3, 5, SPACE):
        first.tell(claim.number, {**DONE, "value": claim.values["x"]})
    second = worker()
    claims = second.claim(3, 5, SPACE)
    assert [claim.number for claim in claims] == [3, 4]
    assert second.claim(3, 5, SPACE) == []
    assert [c.number for c in second.claim(3, 6, SPACE)] == [5]  # asking for more later
    values = [trial.value for trial in second.study.get_trials() if trial.number < 3]
    assert values == [trial.params["x"] for trial in second.study.get_trials()[:3]]


def test_workers_share_the_trials_and_make_none_twice(worker):
    two, claimed = [worker(), worker()], []
    while claims := [claim for one in two for claim in one.claim(2, 7, SPACE)]:
        claimed += [claim.number for claim in claims]
    assert sorted(claimed) == list(range(7))


def test_a_trial_of_a_worker_that_was_killed_is_made_again_with_its_values(worker):
    killed, other = worker(), worker()
    (open_,) = killed.claim(1, 1, SPACE)
    assert other.claim(1, 1, SPACE) == []  # its worker is there
    gone(killed)
    assert other.claim(1, 1, SPACE) == [open_]
    assert worker().claim(1, 1, SPACE) == []  # it has a worker again
    other.tell(open_.number, {**DONE, "value": 0.5})
    assert states(other) == ["COMPLETE"]


def test_a_job_that_did_not_end_is_left_to_the_next_worker(worker):
    study = worker()
    (claim,) = study.claim(1, 1, SPACE)
    study.tell(claim.number, {"status": "killed", "error": "began and did not end"})
    assert states(study) == ["RUNNING"]
    assert study.claim(1, 1, SPACE) == []  # not at once: it may be lost each time
    gone(study)
    assert worker().claim(1, 1, SPACE) == [claim]


def test_a_trial_of_a_worker_in_another_folder_is_left_alone(worker, tmp_path):
    elsewhere = worker(tmp_path / "elsewhere")
    elsewhere.claim(1, 1, SPACE)
    gone(elsewhere)
    assert worker().claim(1, 1, SPACE) == []


def test_a_trial_whose_worker_was_killed_before_it_had_its_values_is_a_failure(worker):
    study = worker()
    study.study.ask()
    (claim,) = study.claim(1, 2, SPACE)
    assert claim.number == 1
    first = study.study.get_trials()[0]
    assert first.state == TrialState.FAIL
    assert first.user_attrs["error"] == "killed before its values were chosen"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None])
def test_a_value_that_is_not_finite_is_a_failure_with_its_reason(worker, value):
    study = worker()
    (claim,) = study.claim(1, 1, SPACE)
    study.tell(claim.number, {**DONE, "value": value})
    (trial,) = study.study.get_trials()
    assert trial.state == TrialState.FAIL
    assert trial.user_attrs["error"] == f"its value is {value}"


def test_a_failed_job_is_a_failed_trial_with_its_reason_and_counts(worker):
    study = worker()
    (claim,) = study.claim(1, 1, SPACE)
    failed = {"status": "failed", "folder": "outputs/a", "seconds": 2.0, "error": "ConfigError: no"}
    study.tell(claim.number, failed)
    (trial,) = study.study.get_trials()
    assert trial.state == TrialState.FAIL
    assert trial.user_attrs["error"] == "ConfigError: no"
    assert study.claim(1, 1, SPACE) == []


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_a_trial_that_somebody_entered_is_made(worker):
    study = worker()
    study.study.enqueue_trial({"x": 0.25, "c": "b"})
    (claim,) = study.claim(1, 1, SPACE)
    assert claim.values == {"x": 0.25, "c": "b"}


def test_the_last_point_of_a_grid_is_entered(worker):
    space = {"c": CategoricalDistribution(("a", "b"))}
    study = worker(sampler=GridSampler({"c": ["a", "b"]}))
    for claim in study.claim(2, 2, space):
        study.tell(claim.number, {**DONE, "value": 1.0})
    assert states(study) == ["COMPLETE", "COMPLETE"]
    assert {trial.params["c"] for trial in study.study.get_trials()} == {"a", "b"}


def test_other_errors_of_a_sampler_are_not_hidden(worker, monkeypatch):
    study = worker()
    (claim,) = study.claim(1, 1, SPACE)

    def fail(*_):
        raise RuntimeError("something else")

    monkeypatch.setattr(study.study, "tell", fail)
    with pytest.raises(RuntimeError, match="something else"):
        study.tell(claim.number, {**DONE, "value": 1.0})


def test_a_study_can_be_kept_in_memory(tmp_path):
    study = SharedStudy("s", None, RandomSampler(seed=1), "maximize", tmp_path)
    assert len(study.claim(2, 2, SPACE)) == 2


@pytest.mark.parametrize("storage", ["nonsense", "sqlite:////dev/null/study.db", "mysql://host/db"])
def test_a_database_that_cannot_be_used_is_named(storage, tmp_path):
    with pytest.raises(ValueError, match=f"^hydra.sweeper.storage={storage}: .+$"):
        SharedStudy("s", storage, None, "maximize", tmp_path)


def test_the_database_is_one_that_optuna_itself_reads(worker, tmp_path):
    study = worker()
    (claim,) = study.claim(1, 1, SPACE)
    study.tell(claim.number, {**DONE, "value": 0.75})
    loaded = optuna.load_study("s", f"sqlite:///{tmp_path}/new/study.db")
    assert (loaded.best_value, loaded.best_params) == (0.75, claim.values)


# Of a function that Optuna calls experimental, by which a study is made up.
pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
TRIALS_SPACE = {name: UniformDistribution(0, 1) for name in ("optimizer.lr", "a")}


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
                distributions=TRIALS_SPACE,
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
