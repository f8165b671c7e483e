import sys

import pytest

from isthmus import __main__
from isthmus.config.schema import SCRIPTS
from isthmus.paths import PACKAGE
from tests.scripts import REPOSITORY


def test_every_script_has_a_module_and_a_launcher():
    modules = {path.stem for path in (PACKAGE / "scripts").glob("*.py")} - {"__init__"}
    assert modules == set(SCRIPTS) == {path.stem for path in REPOSITORY.glob("*.py")}


@pytest.mark.parametrize("typed", [[], ["--help"], ["-h"]])
def test_without_a_script_all_are_listed(typed, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["isthmus", *typed])
    __main__.main()
    text = capsys.readouterr().out
    assert all(script in text for script in SCRIPTS)


def test_an_unknown_script_is_refused_with_those_that_exist(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["isthmus", "trian", "model=mlp"])
    with pytest.raises(SystemExit, match="trian.*train") as error:
        __main__.main()
    assert error.value.code != 0


def test_a_script_gets_the_arguments_after_its_name(monkeypatch):
    run = []
    monkeypatch.setattr(__main__, "run", lambda script: run.append((script, sys.argv[1:])))
    monkeypatch.setattr(sys, "argv", ["isthmus", "train", "model=mlp"])
    __main__.main()
    assert run == [("train", ["model=mlp"])]
