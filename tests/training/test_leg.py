import csv
import logging

from isthmus.store.files import Run
from isthmus.training import loop
from isthmus.training.fit import TrainingRun, update_averages
from isthmus.training.session import Session
from tests import toys


def session(**changes):
    return Session(toys.recipe(**changes), toys.data(), toys.SEEDS, toys.RUNTIME)


def trained(leg):
    """Train a leg to its end, without what makes it survive a kill."""
    made = leg.session
    callbacks = [*update_averages(made), *leg.callbacks()]
    loop.train(made.training, made.batches, made.end, callbacks)
    return leg


def epochs(run, split="val"):
    with run.metrics.open() as file:
        rows = [
            row for row in csv.DictReader(file) if (row["split"], row["metric"]) == (split, "loss")
        ]
    return [int(row["step"]) for row in rows if row["model"] == "plain"]


def test_an_end_within_an_epoch_is_reported_once_the_last_state_is_known(tmp_path):
    leg = trained(TrainingRun(Run(tmp_path), session(steps="1ep2it")))
    state = leg.state()
    assert epochs(leg.run) == [0, 3]
    leg.finish()
    assert epochs(leg.run) == [0, 3, 5]
    assert leg.run.read_result()["iteration"] == 5

    again = TrainingRun(Run(tmp_path), session(steps="3ep"))  # as if it had never been looked at
    again.begin(state)
    assert again.session.training.iteration == 5
    trained(again).finish()
    assert epochs(again.run) == [0, 3, 6, 9]


def test_what_a_job_left_that_was_killed_before_its_first_state_is_removed(tmp_path):
    run = Run(tmp_path)
    run.weights(3).parent.mkdir()
    run.weights(3).write_bytes(b"of another trajectory")
    run.tensorboard.mkdir()
    TrainingRun(run, session()).begin(None)
    assert not run.weights(3).exists() and not run.tensorboard.exists()


def test_weights_of_a_run_that_was_done_are_kept_even_without_its_state(tmp_path):
    run = Run(tmp_path)
    trained(TrainingRun(run, session())).finish()
    assert run.weights(9).exists()
    TrainingRun(run, session()).begin(None)
    assert run.weights(9).exists()


def test_a_leg_that_goes_on_says_which_one_it_is(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    first = TrainingRun(Run(tmp_path / "a"), session(epochs=1))
    (tmp_path / "a").mkdir()
    state = trained(first).state()
    (tmp_path / "a").rename(tmp_path / "b")
    TrainingRun(Run(tmp_path / "b"), session(), label="child 2 of 1ep").begin(state)
    assert caplog.messages == ["child 2 of 1ep: resuming from 1ep"]


def test_the_summary_has_what_a_member_of_a_study_is(tmp_path):
    made = session()
    made.restart(toys.SEEDS, made.model.state_dict(), origin={"child_seed": 7})
    trained(TrainingRun(Run(tmp_path), made)).finish()
    assert Run(tmp_path).read_result()["child_seed"] == 7
