import csv
from functools import partial

import pytest
import torch

from src import runs
from src.runs import Run
from src.training.fit import fit
from src.training.fit_together import fit_together, replay_together
from src.training.leg import Leg
from src.training.recipe import Seeds
from src.training.session import Session
from src.training.stacked import Stacked
from tests import toys

OFTEN = toys.Runtime(device="cpu", progress=False, tensorboard=False, save_every=0.0)
WANTED = ["2it", "2ep"]
TIMED = {"seconds", "images_per_second"}


def twins(num, runtime=OFTEN, seeds=(11, 12, 13)):
    """Sessions of one parent's weights, every other seed their own."""
    first = Session(toys.recipe(), toys.data(), toys.SEEDS, runtime)
    weights = {name: tensor.clone() for name, tensor in first.model.state_dict().items()}
    made = [first.twin() for _ in range(num)]
    for session, seed in zip(made, seeds, strict=False):
        session.restart(Seeds(1, seed, seed, seed), weights, origin={"child_seed": seed})
    return made


def folders(root, num=3):
    made = [Run(root / f"seed_{index}") for index in range(num)]
    for run in made:
        run.folder.mkdir(parents=True, exist_ok=True)
    return made


def together(root, num=3, wanted=WANTED, runtime=OFTEN):
    made = folders(root, num)
    legs = [
        Leg(run, session, wanted) for run, session in zip(made, twins(num, runtime), strict=True)
    ]
    return made, fit_together(legs, root / "together.pt", "children")


def table(run):
    with run.metrics.open() as file:
        return [row for row in csv.DictReader(file) if row["metric"] not in TIMED]


def assert_equal_files(first, second):
    names = {path.name for path in first.folder.glob("weights/*")}
    assert names == {path.name for path in second.folder.glob("weights/*")}
    for name in names:
        pair = [run.folder / "weights" / name for run in (first, second)]
        assert pair[0].read_bytes() == pair[1].read_bytes(), name
    assert table(first) == table(second)
    assert first.predictions.read_bytes() == second.predictions.read_bytes()
    assert first.read_result()["evaluation"] == second.read_result()["evaluation"]


def test_runs_trained_together_have_the_files_of_runs_trained_apart_up_to_rounding(tmp_path):
    made, num_steps = together(tmp_path / "together")
    assert num_steps == 3 * 9
    for index, run in enumerate(made):
        alone = Run(tmp_path / f"apart_{index}")
        alone.folder.mkdir()
        fit(alone, lambda index=index: twins(3)[index], WANTED)
        assert run.snapshots() == alone.snapshots() == [2, 6]
        for iteration in (2, 6, 9):
            for model in alone.kept_models(iteration):
                pair = [runs.load_weights(r.weights(iteration, model))[0] for r in (run, alone)]
                torch.testing.assert_close(*pair, rtol=1e-4, atol=1e-5)
        ours, theirs = table(run), table(alone)
        assert [{**row, "value": 0} for row in ours] == [{**row, "value": 0} for row in theirs]
        values = [[float(row["value"]) for row in rows] for rows in (ours, theirs)]
        assert values[0] == pytest.approx(values[1], abs=1e-3)
        kept = set(run.read_result()) - {"train_seconds"}
        assert kept == set(alone.read_result()) - {"train_seconds"}
        assert run.read_result()["child_seed"] == 11 + index


def test_the_common_state_is_gone_in_the_end_and_each_run_has_its_own(tmp_path):
    made, _ = together(tmp_path)
    assert not (tmp_path / "together.pt").exists()
    for run in made:
        assert runs.load_state(run.state)["training"]["iteration"] == 9


@pytest.fixture
def killed(monkeypatch):
    """Training together that is killed before a given step, or before a leg is finished."""
    step, finish = Stacked.step, Leg.finish

    def arm(iteration=None, num_finished=None):
        finished = []

        def stop_at_step(self, inputs, labels):
            if self.iteration == iteration:
                raise KeyboardInterrupt
            step(self, inputs, labels)

        def stop_at_finish(self):
            if len(finished) == num_finished:
                raise KeyboardInterrupt
            finished.append(self)
            finish(self)

        monkeypatch.setattr(Stacked, "step", stop_at_step)
        monkeypatch.setattr(Leg, "finish", stop_at_finish)

    def disarm():
        monkeypatch.setattr(Stacked, "step", step)
        monkeypatch.setattr(Leg, "finish", finish)

    return arm, disarm


@pytest.mark.parametrize(
    "moment",
    [
        {"iteration": 1},
        {"iteration": 3},
        {"iteration": 7},
        {"num_finished": 0},
        {"num_finished": 2},
    ],
    ids=str,
)
def test_runs_that_are_killed_go_on_together_bit_for_bit(tmp_path, killed, moment):
    whole, _ = together(tmp_path / "whole")
    arm, disarm = killed
    arm(**moment)
    with pytest.raises(KeyboardInterrupt):
        together(tmp_path / "parts")
    disarm()
    parts, num_steps = together(tmp_path / "parts")
    assert num_steps == 3 * (9 - moment.get("iteration", 9))
    for first, second in zip(whole, parts, strict=True):
        assert_equal_files(first, second)


def test_a_snapshot_that_was_not_kept_is_replayed_together_bit_for_bit(tmp_path):
    kept, _ = together(tmp_path / "kept", wanted=["2it", "5it", "2ep", "8it"])
    asked_later, _ = together(tmp_path / "later")
    num_steps = replay_together(asked_later, partial(twins, 3), [5, 8], "children")
    assert num_steps == 3 * ((5 - 2) + (8 - 6))
    for first, second in zip(kept, asked_later, strict=True):
        assert second.snapshots() == [2, 5, 6, 8]
        assert_equal_files(first, second)


def test_a_replay_begins_anew_where_nothing_is_kept_before(tmp_path):
    kept, _ = together(tmp_path / "kept", wanted=["1it", "2it"])
    asked_later, _ = together(tmp_path / "later", wanted=["2it"])
    assert replay_together(asked_later, partial(twins, 3), [1], "children") == 3
    for first, second in zip(kept, asked_later, strict=True):
        assert_equal_files(first, second)


def test_a_loss_that_is_not_finite_leaves_the_last_state(tmp_path):
    made, sessions = folders(tmp_path), twins(3)
    legs = [Leg(run, session) for run, session in zip(made, sessions, strict=True)]
    with torch.no_grad():
        sessions[1].model.output.bias.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="loss is nan at step"):
        fit_together(legs, tmp_path / "together.pt", "children")
    assert all(run.read_result() is None for run in made)
