"""The whole search, with jobs that are made up."""

import csv
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from hydra.utils import instantiate
from optuna.distributions import (
    CategoricalDistribution,
    DiscreteUniformDistribution,
    IntUniformDistribution,
    UniformDistribution,
)

from hydra_plugins.isthmus import _search
from isthmus import sweeps
from isthmus.config.launch import ConfigError
from isthmus.plots import studies
from isthmus.training.options import Tune
from tests.values import defaults

CONF = Path(__file__).resolve().parents[2] / "conf"
SMALL = ["dataset=digits", "model=mlp"]
CHOICES = [
    *("optimizer.lr=choice(0.1,0.2,0.4)", "optimizer.weight_decay=0.01"),
    *("averaged.decay=choice(0.9,0.99)", "scheduler=choice(constant,cosine)"),
]
FEW = ["averaged.decay=0.9", "scheduler=constant"]  # each choice is composed before a search


class Jobs:
    """A launcher whose jobs come to a value at once, worked out from their overrides."""

    def __init__(self, sweep, objective):
        self.sweep, self.objective, self.launched = sweep, objective, []

    def launch(self, job_overrides, initial_job_idx):
        for number, words in enumerate(job_overrides, initial_job_idx):
            values = dict(word.split("=", 1) for word in words)
            job = {"job": number, "overrides": list(words), "folder": "f", "seconds": 1.0}
            sweeps.note_job(self.sweep, job | self.objective(values))
            self.launched.append(values)


def by_lr(values):
    return {"status": "done", "value": 1 - float(values["optimizer.lr"]) / 10}


@pytest.fixture
def search(tmp_path, monkeypatch):
    """A function that runs `tune.py` with overrides; returns its jobs and its results."""
    monkeypatch.setattr(studies, "update_study", lambda folder, kind: None)  # figures take seconds
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()

        def run(*overrides, objective=by_lr, sweep="sweep", read=True):
            words = [*SMALL, "hydra.sweeper.storage=null", *overrides]
            own = [f"output_dir={tmp_path}/outputs", f"hydra.sweep.dir={tmp_path}/{sweep}"]
            cfg = loader.load_configuration("tune", [*words, *own], RunMode.MULTIRUN)
            sweeper = instantiate(cfg.hydra.sweeper)
            sweeper.config, sweeper.hydra_context = cfg, SimpleNamespace(config_loader=loader)
            sweeper.launcher = Jobs(tmp_path / sweep, objective)
            typed = [word for word in [*words, *own] if not word.startswith("hydra")]
            _search.search(sweeper, typed)
            return sweeper.launcher.launched, results(tmp_path) if read else None

        yield run


def results(folder):
    (found,) = (folder / "outputs").glob("tune_*/seed_1")
    with (found / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    return rows, json.loads((found / "result.json").read_text())


@pytest.mark.parametrize("sampler", ["tpe", "cmaes", "nsgaii"])
def test_each_sampler_searches_the_default_space(search, sampler):
    launched, (rows, summary) = search(
        f"hydra/sweeper/sampler={sampler}", "hydra.sweeper.n_trials=12", "hydra.sweeper.n_jobs=4"
    )
    assert len(launched) == len(rows) == 12
    assert summary["trials"] == {"complete": 12}
    for values in launched:
        assert 0.01 <= float(values["optimizer.lr"]) <= 1  # ten times around that of momentum
        assert 1e-5 <= float(values["optimizer.weight_decay"]) <= 1e-2
        assert 0.9 <= float(values["averaged.decay"]) <= 0.9997
        assert values["scheduler"] in ("constant", "linear", "cosine")
        assert values["dataset"] == "digits"
    best = max(rows, key=lambda row: float(row["value"]))
    assert summary["best"]["number"] == int(best["number"])
    lowest = min(launched, key=lambda values: float(values["optimizer.lr"]))
    assert float(best["optimizer.lr"]) == float(lowest["optimizer.lr"])


def test_a_grid_has_each_point_once_and_ends(search):
    launched, (rows, _) = search(
        "hydra/sweeper/sampler=grid",
        *CHOICES,
        "hydra.sweeper.n_trials=99",
        "hydra.sweeper.n_jobs=5",
    )
    points = {tuple(sorted(values.items())) for values in launched}
    assert len(points) == len(launched) == len(rows) == 12


def test_a_value_that_is_typed_takes_the_place_of_a_range(search):
    launched, (rows, _) = search(
        *("optimizer.lr=0.3", "scheduler=linear", "hparams.batch_size=32,64"),
        *("averaged.decay=0.99", "hydra.sweeper.n_trials=5"),
    )
    assert {values["optimizer.lr"] for values in launched} == {"0.3"}
    assert {values["hparams.batch_size"] for values in launched} <= {"32", "64"}
    assert set(rows[0]) - set(CSV) == {"hparams.batch_size", "optimizer.weight_decay"}


CSV = ["number", "state", "value", "seconds", "folder", "error"]


def test_what_the_chosen_parts_do_not_have_is_not_searched(search):
    launched, _ = search("averaged=swa", "hydra.sweeper.n_trials=2")
    assert all("averaged.decay" not in values for values in launched)


def test_started_again_a_search_goes_on_to_the_number_of_trials_in_all(search, tmp_path):
    database = f"hydra.sweeper.storage=sqlite:///{tmp_path}/study.db"
    search("hydra.sweeper.n_trials=3", *FEW, database)
    more = [*FEW, "hydra.sweeper.n_trials=5", "hydra.sweeper.n_jobs=4", database]
    launched, (rows, _) = search(*more, sweep="b")
    assert len(launched) == 2
    assert [int(row["number"]) for row in rows] == list(range(5))
    launched, (again, _) = search(*more, sweep="c")
    assert launched == []
    assert again == rows


def test_failed_and_unfinished_trials_end_no_search(search):
    ends = iter(["done", "failed", "killed", "done"])

    def objective(values):
        status = next(ends)
        error = None if status == "done" else f"why {status}"
        return by_lr(values) | {"status": status, "error": error}

    launched, (rows, summary) = search("hydra.sweeper.n_trials=4", *FEW, objective=objective)
    assert len(launched) == 4
    assert [row["state"] for row in rows] == ["complete", "failed", "open", "complete"]
    assert rows[1]["error"] == "why failed"
    assert summary["trials"] == {"complete": 2, "failed": 1, "open": 1}


def test_a_search_of_which_all_failed_says_so(search, capsys):
    def objective(values):
        return {"status": "failed", "error": "no", "value": None}

    with pytest.raises(ConfigError, match=r"all 2 trials failed"):
        search("hydra.sweeper.n_trials=2", *FEW, objective=objective)
    assert "no trial is complete: there is no best one" in capsys.readouterr().out


def test_another_search_is_another_study(search, tmp_path):
    searches = (["optimizer.lr=0.1"], ["hparams.epochs=3"], ["maximize_averaged=false"])
    for number, words in enumerate(searches):
        search("hydra.sweeper.n_trials=1", *FEW, *words, sweep=str(number), read=False)
    assert len(list(tmp_path.glob("outputs/tune_*/seed_1/trials.csv"))) == len(searches)
    search("hydra.sweeper.n_trials=1", *FEW, "global_seed=2", sweep="seed", read=False)
    assert len(list(tmp_path.glob("outputs/tune_*/seed_2/trials.csv"))) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["hydra.sweeper.n_trials=0"], "hydra.sweeper.n_trials=0: must be at least 1"),
        (["hydra.sweeper.n_jobs=0"], "hydra.sweeper.n_jobs=0: must be at least 1"),
        (["hydra/sweeper/sampler=grid"], "optimizer.lr: a grid needs choices"),
        (["averaged=none"], "maximize_averaged=true: there is no averaged model"),
        (["dataset.val_fraction=0"], "dataset.val_fraction=0: must be positive"),
        (["hparams.batch_size=choice(8,many)"], "hparams.batch_size=many: must be a whole number"),
        (["hparams.epochs=range(-3,5)"], "hparams.epochs=-3: must be positive"),
        (["hydra.sweeper.storage=nonsense"], "hydra.sweeper.storage=nonsense: "),
        (["hydra.sweeper.max_failure_rate=0.5"], "hydra.sweeper.max_failure_rate=0.5: no such op"),
        (["optimizer.lr=interval(2,1)"], "optimizer.lr=interval(2,1"),
    ],
)
def test_a_search_that_cannot_run_is_refused_before_any_trial(search, words, message, tmp_path):
    with pytest.raises(ConfigError, match=message.replace("(", r"\(")):
        search(*words)
    assert not list(tmp_path.glob("sweep/jobs/*"))


def test_another_sampler_or_seed_is_another_study(search, tmp_path):
    few = [*FEW, "optimizer.weight_decay=0.01", "hydra.sweeper.n_trials=1"]
    samplers = [
        [],
        ["hydra/sweeper/sampler=tpe"],
        ["hydra.sweeper.sampler.n_startup_trials=10"],
        ["hydra.sweeper.sampler.seed=1"],
        ["hydra.sweeper.sampler.n_startup_trials=3"],
        ["hydra/sweeper/sampler=random"],
        ["hydra/sweeper/sampler=random", "hydra.sweeper.sampler.seed=1"],
        ["hydra/sweeper/sampler=cmaes"],
    ]
    numbers = []
    for words in samplers:
        search(*few, *words, read=False)
        numbers.append(len(list((tmp_path / "outputs").glob("tune_*"))))
    assert numbers == [1, 1, 1, 2, 3, 4, 5, 6]


def digits(space=None, **changes):
    """The name of a search of a training of nothing but an optimizer."""
    values = defaults(
        Tune,
        optimizer={"_target_": "isthmus.training.optimizers.sgd", "lr": 0.1},
        scheduler={"_target_": "isthmus.training.schedulers.Constant"},
    )
    return _search.study_digits(values | changes, space or SPACE)


SPACE = {"optimizer.lr": "0.01 to 1", "scheduler": "a, b"}


def test_a_study_is_named_by_what_it_searches_and_by_what_stays_as_it_is():
    others = [
        digits(SPACE | {"optimizer.lr": "0.1 to 1"}),
        digits({"optimizer.lr": "0.01 to 1"}),
        digits(precision="bf16"),
        digits(maximize_averaged=False),
    ]
    assert len({digits(), *others}) == 5


def test_what_is_searched_does_not_rename_a_study_and_nor_does_what_changes_no_result():
    optimizer = {"_target_": "isthmus.training.optimizers.sgd", "lr": 0.7}
    scheduler = {"_target_": "isthmus.training.schedulers.Cosine"}
    other = {"optimizer": optimizer, "scheduler": scheduler, "global_seed": 7}
    assert digits(**other) == digits()


@pytest.mark.parametrize(
    ("kind", "choices"),
    [
        (IntUniformDistribution(8, 12, 2), (8, 10, 12)),
        (DiscreteUniformDistribution(0.5, 1.0, 0.25), (0.5, 0.75, 1.0)),
        (CategoricalDistribution(["a"]), ("a",)),
    ],
)
def test_a_grid_takes_the_numbers_of_a_range(kind, choices):
    assert _search._as_choices(kind).choices == choices


def test_a_grid_leaves_an_interval_to_be_refused():
    kind = UniformDistribution(0, 1)
    assert _search._as_choices(kind) is kind
