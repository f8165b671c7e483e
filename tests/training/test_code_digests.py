import importlib
import sys
from functools import partial

import pytest

from isthmus.store.files import Run
from isthmus.training import code_digests, options
from isthmus.training.fit import fit
from isthmus.training.loop import Training
from isthmus.training.session import Session
from tests import toys

CODE = """
from tests import toys

class Own(toys.Small):
    pass
"""
OFTEN = options.Runtime(device="cpu", progress=False, tensorboard=False, save_every=0.0)


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A module of a user's own with a network, in a file."""
    (tmp_path / "own_network.py").write_text(CODE)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("own_network")
    del sys.modules["own_network"]


def session(model):
    return Session(toys.recipe(model=model), toys.data(), toys.SEEDS, OFTEN)


def test_the_code_of_a_training_is_ours_and_the_users(own):
    found = code_digests.code_digests(session(own.Own))
    wanted = {"own_network", "tests.toys", "isthmus.training.schedulers", "isthmus.averaging.ema"}
    assert wanted <= set(found)
    assert not [name for name in found if name.startswith(("torch", "builtins"))]


def test_what_the_recipe_names_is_code_of_it_too():
    config = {
        "dataset": {"_target_": "isthmus.data.digits.Digits"},
        "model": {"_target_": "nope.X"},
    }
    recipe = toys.recipe(metadata={"config": config})
    found = code_digests.code_digests(Session(recipe, toys.data(), toys.SEEDS, OFTEN))
    assert "isthmus.data.digits" in found and "nope" not in found


def kill_at(monkeypatch, iteration):
    original = Training.step

    def step(self, *batch):
        if self.iteration == iteration:
            raise KeyboardInterrupt
        original(self, *batch)

    monkeypatch.setattr(Training, "step", step)
    return lambda: monkeypatch.setattr(Training, "step", original)


@pytest.mark.parametrize("is_changed", [True, False])
def test_code_that_changed_between_kill_and_resume_is_named(
    own, tmp_path, monkeypatch, caplog, is_changed
):
    run = Run(tmp_path / "run")
    run.folder.mkdir()
    disarm = kill_at(monkeypatch, 5)
    with pytest.raises(KeyboardInterrupt):
        fit(run, partial(session, own.Own))
    disarm()
    if is_changed:
        (tmp_path / "own_network.py").write_text(CODE + "# other\n")
    fit(run, partial(session, own.Own))
    said = [message for message in caplog.messages if "own_network" in message]
    assert len(said) == is_changed
    assert run.read_result() is not None


def test_a_state_of_another_network_is_one_error_that_names_what_changed(
    own, tmp_path, monkeypatch
):
    run = Run(tmp_path / "run")
    run.folder.mkdir()
    disarm = kill_at(monkeypatch, 5)
    with pytest.raises(KeyboardInterrupt):
        fit(run, partial(session, own.Own))
    disarm()
    (tmp_path / "own_network.py").write_text(CODE + "# other\n")

    class Wider(own.Own):
        def __init__(self, *shape):
            super().__init__(*shape)
            self.more = toys.nn.Linear(2, 2)

    Wider.__module__ = "own_network"
    with pytest.raises(ValueError, match="state.pt .*own_network.*remove it"):
        fit(run, partial(session, Wider))
