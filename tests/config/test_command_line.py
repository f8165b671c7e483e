import sys

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path

from isthmus.config import command_line
from isthmus.paths import CONF


def errors(*overrides: str, script: str = "train", is_refused: bool = False) -> list[str]:
    loader = ConfigLoaderImpl(create_config_search_path(str(CONF)))
    return command_line.command_line_errors(script, overrides, loader, is_refused)


@pytest.mark.parametrize(
    ("script", "overrides"),
    [
        ("train", ["model=mlp", "averaged.decay=0.9,0.99", "+hydra.x=1", "~averaged"]),
        ("train", ["experiment=[quickstart,wide_mnist]", "model=${x}", "seeds.dropout=range(3)"]),
        ("train", ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "scheduler=glob(*)"]),
        ("spawn", ["optimizer@pretrain.optimizer=adam", "spawn_steps=[0ep,1ep]"]),
        ("eval", ["dataset=mnist", "checkpoint='a=b'"]),
    ],
)
def test_what_can_be_typed_is_no_error(script, overrides):
    assert errors(*overrides, script=script) == []


@pytest.mark.parametrize(
    ("script", "typed", "meant"),
    [
        ("train", "models=mlp", "model"),
        ("train", "+optimiser=adam", "optimizer"),
        ("train", "modle.width=8,16", "model.width"),
        ("extract", "gamma=0.5", "extraction.gamma"),
        ("extract", "dataset=mnist", "extraction.datagen"),
        ("tune", "n_trials=3", "hydra.sweeper.n_trials"),
        ("spawn", "optimizer@pretrian.optimizer=adam", "optimizer@pretrain.optimizer"),
        ("train", "hydra/laucher=joblib", "hydra/launcher"),
    ],
)
def test_an_unknown_option_is_named_as_typed_with_the_nearest(script, typed, meant):
    (error,) = errors(typed, script=script)
    assert error.startswith(f"{typed.lstrip('+')}: ") and error.endswith(f"did you mean {meant}?")


def test_an_option_of_another_script_is_named_with_it():
    (error,) = errors("checkpoint=x")
    assert error.startswith("checkpoint=x: ") and error.endswith("eval.py")


def test_an_unknown_option_that_is_like_none_is_refused_with_all_that_there_are():
    (error,) = errors("xyz=1")
    assert all(name in error for name in ("xyz=1", "model", "hparams", "output_dir"))


@pytest.mark.parametrize("typed", ["averaged=emma", "averaged=swa,emma", "+averaged=emma"])
def test_an_unknown_option_of_a_group_is_refused_with_those_that_there_are(typed):
    (error,) = errors(typed)
    assert error.startswith("averaged=emma: ") and "ema, latest, none, swa" in error
    assert error.endswith("did you mean ema?")


def test_a_name_inside_hydra_that_hydra_has_refused_is_suggested():
    typed = ("hydra/launcher=joblib", "hydra.launcher.njobs=2")
    assert errors(*typed) == []
    (error,) = errors(*typed, is_refused=True)
    assert error.startswith("hydra.launcher.njobs=2: ") and "hydra.launcher.n_jobs?" in error


@pytest.mark.parametrize(
    ("typed", "hint"),
    [
        (["averaged.decay=[0.9,", "0.99]"], "'averaged.decay=[0.9,0.99]'"),
        (["snapshots=[1ep", "2ep]", "model=mlp"], "'snapshots=[1ep,2ep]'"),
        (["output_dir=a=b"], """'output_dir="a=b"'"""),
        (["model.width=[64,"], "bracket"),
        (["model"], "model=..."),
    ],
)
def test_what_cannot_be_read_is_named_with_how_to_type_it(typed, hint):
    (error,) = errors(*typed)
    assert error.startswith(typed[0]) and hint in error


def test_an_unknown_flag_is_refused_with_the_nearest():
    assert command_line.flag_errors(["--multirun", "-m", "--help", "--multi", "x=--y"]) == []
    (error,) = command_line.flag_errors(["--multrun", "x=1"])
    assert error.startswith("--multrun: ") and error.endswith("--multirun?")


def test_an_error_of_the_program_stays_one(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train.py"])
    with pytest.raises(KeyError), command_line.one_message("train"):
        raise KeyError("x")
