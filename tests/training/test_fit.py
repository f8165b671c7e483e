import csv
import json
import logging
import re
import shutil
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from isthmus.averaging.ema import EMA
from isthmus.averaging.swa import SWA
from isthmus.store import files
from isthmus.store.files import Run
from isthmus.training import loop
from isthmus.training import options as training_options
from isthmus.training import session as training_session
from isthmus.training.fit import TrainHooks, TrainingRun, fit, update_averages
from isthmus.training.loop import Training
from isthmus.training.optimizers import adam, sgd
from isthmus.training.options import StreamSeeds
from isthmus.training.schedulers import Cosine
from isthmus.training.session import Session
from tests import toys


def trained(folder, recipe=None, seeds=toys.SEEDS, data=None, **options):
    run = Run(folder)
    folder.mkdir(exist_ok=True)
    runtime = options.pop("runtime", toys.RUNTIME)
    session = partial(Session, recipe or toys.recipe(), data or toys.data(), seeds, runtime)
    fit(run, session, **options)
    return run


def weights(run, moment=9, model="plain"):
    return files.load_weights(run.weights(moment, model))[0]


def table(run):
    with run.metrics.open() as file:
        return list(csv.DictReader(file))


@pytest.fixture
def killed(monkeypatch):
    """Training that is killed before a given optimizer step, its state saved after every step."""
    original = Training.step

    def arm(iteration):
        def step(self, inputs, labels):
            if self.iteration == iteration:
                raise KeyboardInterrupt
            original(self, inputs, labels)

        monkeypatch.setattr(Training, "step", step)

    yield arm, lambda: monkeypatch.setattr(Training, "step", original)


OFTEN = training_options.Runtime(device="cpu", progress=False, tensorboard=False, save_every=0.0)


def test_the_same_seeds_give_the_same_files(tmp_path):
    first, second = trained(tmp_path / "a"), trained(tmp_path / "b")
    for model in ("plain", "ema_0.5", "ema_0.9"):
        assert first.weights(9, model).read_bytes() == second.weights(9, model).read_bytes()


@pytest.mark.parametrize("stream", ["initialization", "data_order", "augmentation", "dropout"])
def test_each_stream_of_chance_changes_the_result(tmp_path, stream):
    other = StreamSeeds(**(vars(toys.SEEDS) | {stream: 2}))
    first, second = trained(tmp_path / "a"), trained(tmp_path / "b", seeds=other)
    assert not toys.equal(weights(first), weights(second))


def test_a_stream_changes_only_its_own_part(tmp_path):
    plain = toys.data(augment=False)
    other = StreamSeeds(**(vars(toys.SEEDS) | {"augmentation": 2}))
    first = trained(tmp_path / "a", data=plain)
    second = trained(tmp_path / "b", data=plain, seeds=other)
    assert toys.equal(weights(first), weights(second))


@pytest.mark.parametrize("iteration", [1, 3, 4, 8])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {
            "optimizer": lambda parameters: adam(parameters, lr=0.01),
            "averages": lambda: SWA(start="1ep", every="2it"),
            "scheduler": Cosine,
        },
    ],
    ids=["sgd and ema bank", "adam and swa"],
)
def test_a_killed_run_goes_on_bit_for_bit(tmp_path, killed, iteration, changes):
    recipe = toys.recipe(**changes)
    whole = trained(tmp_path / "whole", recipe, runtime=OFTEN)
    arm, disarm = killed
    arm(iteration)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "parts", recipe, runtime=OFTEN)
    disarm()
    parts = trained(tmp_path / "parts", recipe, runtime=OFTEN)

    assert not parts.folder.joinpath("weights/.tmp").exists()
    for file in whole.folder.glob("weights/*"):
        assert parts.folder.joinpath("weights", file.name).read_bytes() == file.read_bytes()
    timed = {"seconds", "images_per_second"}
    assert [row for row in table(whole) if row["metric"] not in timed] == [
        row for row in table(parts) if row["metric"] not in timed
    ]
    assert whole.predictions.read_bytes() == parts.predictions.read_bytes()
    assert whole.read_result()["evaluation"] == parts.read_result()["evaluation"]


def test_a_member_of_a_bank_equals_the_run_with_that_decay_alone(tmp_path):
    bank = trained(tmp_path / "bank")
    alone = trained(tmp_path / "alone", toys.recipe(averages=lambda: EMA(decay=0.9)))
    assert toys.equal(weights(bank, model="ema_0.9"), weights(alone, model="ema_0.9"))


def test_averaging_does_not_change_the_training(tmp_path):
    with_bank = trained(tmp_path / "a")
    without = trained(tmp_path / "b", toys.recipe(averages=None))
    assert toys.equal(weights(with_bank), weights(without))


def test_a_finished_run_is_left_alone(tmp_path, monkeypatch):
    run = trained(tmp_path / "a")
    before = {path: path.stat().st_mtime_ns for path in run.folder.rglob("*")}
    monkeypatch.setattr(training_session, "Session", None)
    trained(tmp_path / "a")
    assert before == {path: path.stat().st_mtime_ns for path in run.folder.rglob("*")}


def test_a_snapshot_asked_for_later_is_the_one_that_was_not_kept(tmp_path):
    kept = trained(tmp_path / "kept", snapshots=["0", "4it", "2ep", "3ep"])
    assert kept.snapshots() == [0, 4, 6, 9]
    later = trained(tmp_path / "later")
    assert later.snapshots() == []
    trained(tmp_path / "later", snapshots=["2ep"])
    trained(tmp_path / "later", snapshots=["0ep", "4it", "3ep"])
    for file in kept.folder.glob("weights/*.safetensors"):
        assert later.folder.joinpath("weights", file.name).read_bytes() == file.read_bytes()
    for iteration in kept.snapshots():
        first = files.load_state(kept.snapshot_state(iteration))
        second = files.load_state(later.snapshot_state(iteration))
        torch.testing.assert_close(first, second, rtol=0, atol=0)


def test_a_replay_takes_only_the_steps_that_it_needs(tmp_path, monkeypatch):
    trained(tmp_path / "a", snapshots=["1ep"])
    steps, original = [], Training.step

    def step(self, inputs, labels):
        steps.append(self.iteration)
        original(self, inputs, labels)

    monkeypatch.setattr(Training, "step", step)
    trained(tmp_path / "a", snapshots=["1ep", "5it"])
    assert steps == [3, 4]


def test_the_summary_has_every_model_and_split(tmp_path):
    result = trained(tmp_path / "a").read_result()
    assert set(result["evaluation"]) == {"plain", "ema_0.5", "ema_0.9", "best", "best_averaged"}
    for row in result["evaluation"].values():
        assert set(row) == {"train", "val", "test"}
    assert result["num_examples"] == {"train": 40, "val": 15, "test": 20}
    assert (result["iteration"], result["iterations_per_epoch"]) == (9, 3)
    json.dumps(result, allow_nan=False)


def test_the_saved_best_model_is_the_one_of_lowest_validation_loss(tmp_path):
    run = trained(tmp_path / "a", snapshots="every")
    losses = {
        int(row["step"]): float(row["value"])
        for row in table(run)
        if (row["split"], row["model"], row["metric"]) == ("val", "plain", "loss")
    }
    best = min(losses, key=losses.__getitem__)
    assert run.read_result()["best_iteration"] == best
    assert toys.equal(weights(run, "best"), weights(run, best))


def test_the_best_averaged_model_is_that_of_lowest_validation_loss_of_all_averages(tmp_path):
    recipe = toys.recipe(optimizer=lambda parameters: adam(parameters, lr=0.05))
    run = trained(tmp_path / "a", recipe, snapshots="every")
    losses = {
        (int(row["step"]), row["model"]): float(row["value"])
        for row in table(run)
        if (row["split"], row["metric"]) == ("val", "loss") and row["model"].startswith("ema_")
    }
    iteration, model = min(losses, key=losses.__getitem__)
    result = run.read_result()
    assert (result["best_averaged_iteration"], result["best_averaged_model"]) == (iteration, model)
    kept, metadata = files.load_weights(run.weights("best_averaged"))
    assert toys.equal(kept, files.load_weights(run.weights(iteration, model))[0])
    assert (metadata["kind"], metadata["iteration"]) == ("best_averaged", iteration)
    val = result["evaluation"]["best_averaged"]["val"]
    assert val["loss"] == pytest.approx(losses[iteration, model], rel=1e-5)


def test_every_epoch_reports_every_model(tmp_path):
    rows = [row for row in table(trained(tmp_path / "a")) if row["step"] == "6"]
    cells = {(row["metric"], row["split"], row["model"]) for row in rows}
    models = ("plain", "ema_0.5", "ema_0.9")
    assert cells == {
        *((metric, "val", model) for metric in ("loss", "accuracy") for model in models),
        *(("weight_norm", "", model) for model in models),
        *(("weight_distance", "", model) for model in models[1:]),
        ("loss", "train", "plain"),
        ("accuracy", "train", "plain"),
        *((metric, "", "plain") for metric in ("lr", "seconds", "images_per_second")),
    }


def test_predictions_agree_with_the_accuracies_of_the_table(tmp_path):
    run = trained(tmp_path / "a")
    predictions = np.load(run.predictions)
    assert predictions["indices"].tolist() == list(range(40, 55))
    for model in ("plain", "ema_0.9"):
        assert predictions[f"steps/{model}"].tolist() == [0, 3, 6, 9]
        accuracies = [
            float(row["value"])
            for row in table(run)
            if (row["split"], row["model"], row["metric"]) == ("val", model, "accuracy")
        ]
        assert predictions[f"correct/{model}"].mean(axis=1).tolist() == pytest.approx(accuracies)


def test_predictions_can_be_left_out(tmp_path):
    assert not trained(tmp_path / "a", save_predictions=False).predictions.exists()


def test_without_validation_there_is_no_best_model(tmp_path):
    run = trained(tmp_path / "a", data=toys.data(num_val=0))
    result = run.read_result()
    assert set(result["evaluation"]) == {"plain", "ema_0.5", "ema_0.9"}
    assert set(result["evaluation"]["plain"]) == {"train", "test"}
    assert result["best_iteration"] is None
    assert not run.predictions.exists()


def test_training_stops_when_patience_is_out(tmp_path):
    recipe = toys.recipe(
        epochs=50, patience=2, optimizer=lambda parameters: adam(parameters, lr=0.3)
    )
    run = trained(tmp_path / "a", recipe)
    result = run.read_result()
    assert result["stopped_early"]
    assert result["iteration"] == result["best_iteration"] + 2 * 3
    assert run.weights(result["iteration"]).exists()


def test_patience_can_wait_for_the_averaged_models(tmp_path):
    recipe = toys.recipe(
        epochs=50,
        patience=2,
        patience_model="averaged",
        optimizer=lambda parameters: adam(parameters, lr=0.3),
        averages=lambda: EMA(decay=0.9),
    )
    result = trained(tmp_path / "a", recipe).read_result()
    assert result["stopped_early"]
    assert result["iteration"] == result["best_averaged_iteration"] + 2 * 3
    assert result["best_averaged_iteration"] != result["best_iteration"]


def test_patience_needs_a_validation_split(tmp_path):
    with pytest.raises(ValueError, match="hparams.patience needs a validation split"):
        trained(tmp_path / "a", toys.recipe(patience=2), data=toys.data(num_val=0))


def test_a_snapshot_after_the_end_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"4ep is after the end of training, 3ep"):
        trained(tmp_path / "a", snapshots=["4ep"])


def test_a_length_in_steps_takes_the_place_of_epochs(tmp_path):
    run = trained(tmp_path / "a", toys.recipe(steps="1ep1it"))
    assert run.read_result()["iteration"] == 4
    assert [row["step"] for row in table(run) if row["metric"] == "weight_norm"][-1] == "4"


def test_a_loss_that_is_not_finite_leaves_the_run_at_its_last_state(tmp_path, monkeypatch):
    original = Training.step

    def step(self, inputs, labels):
        original(self, inputs * (float("nan") if self.iteration == 5 else 1.0), labels)

    monkeypatch.setattr(Training, "step", step)
    with pytest.raises(FloatingPointError, match=r"nan at step 1ep2it \(iteration 5\)"):
        trained(tmp_path / "a", runtime=OFTEN)
    state = files.load_state(tmp_path / "a" / "state.pt")
    assert state["training"]["iteration"] == 5
    assert all(tensor.isfinite().all() for tensor in state["model"].values())


def test_averaged_models_with_batch_norm_reset_have_statistics_of_their_own(tmp_path):
    average = trained(tmp_path / "average", toys.recipe(averages=lambda: EMA(0.9)))
    reset = trained(tmp_path / "reset", toys.recipe(averages=lambda: EMA(0.9, bn="reset")))
    first, second = weights(average, model="ema_0.9"), weights(reset, model="ema_0.9")
    same = {name for name in first if torch.equal(first[name], second[name])}
    assert set(first) - same == {"bn.running_mean", "bn.running_var", "bn.num_batches_tracked"}


def test_weights_say_how_to_rebuild_their_model(tmp_path):
    recipe = toys.recipe(metadata={"config": {"model": {"name": "toy"}}})
    _, metadata = files.load_weights(trained(tmp_path / "a", recipe).weights(9, "ema_0.5"))
    assert metadata == {
        "config": {"model": {"name": "toy"}},
        "input_shape": [2, 4, 4],
        "num_classes": 3,
        "classes": ["a", "b", "c"],
        "normalization": {"mean": [0.5], "std": [0.25], "scale": 255.0},
        "kind": "ema_0.5",
        "iteration": 9,
        "iterations_per_epoch": 3,
    }


def test_a_snapshot_after_an_early_stop_is_none_but_no_error(tmp_path):
    recipe = toys.recipe(
        epochs=50, patience=2, optimizer=lambda parameters: adam(parameters, lr=0.3)
    )
    run = trained(tmp_path / "a", recipe, snapshots=["1ep", "49ep"])
    trained(tmp_path / "a", recipe, snapshots=["1ep", "49ep"])
    assert run.is_complete(["1ep", "49ep"])
    assert run.snapshots() == [3]
    with pytest.raises(ValueError, match="51ep is after the end of training, 50ep"):
        run.is_complete(["51ep"])


def test_a_kept_snapshot_of_a_run_that_stopped_early_can_be_gone_on_from(tmp_path):
    recipe = toys.recipe(
        epochs=50, patience=2, optimizer=lambda parameters: adam(parameters, lr=0.3)
    )
    end = trained(tmp_path / "probe", recipe).read_result()["iteration"]
    kept = trained(tmp_path / "kept", recipe, snapshots=[f"{end}it"])
    later = trained(tmp_path / "later", recipe)
    trained(tmp_path / "later", recipe, snapshots=[f"{end}it"])
    first, second = (files.load_state(run.snapshot_state(end)) for run in (kept, later))
    torch.testing.assert_close(first, second, rtol=0, atol=0)


def test_patience_that_runs_out_at_the_planned_end_stops_nothing_early(tmp_path):
    recipe = toys.recipe(
        epochs=50, patience=2, optimizer=lambda parameters: adam(parameters, lr=0.3)
    )
    epochs = trained(tmp_path / "probe", recipe).read_result()["iteration"] // 3
    short = toys.recipe(
        epochs=epochs, patience=2, optimizer=lambda parameters: adam(parameters, lr=0.3)
    )
    assert not trained(tmp_path / "a", short).read_result()["stopped_early"]


def test_a_killed_replay_goes_on_where_it_was(tmp_path, killed, monkeypatch):
    whole = trained(tmp_path / "whole", snapshots=["8it"])
    trained(tmp_path / "a")
    arm, disarm = killed
    arm(6)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "a", snapshots=["8it"], runtime=OFTEN)
    disarm()
    steps, original = [], Training.step

    def step(self, inputs, labels):
        steps.append(self.iteration)
        original(self, inputs, labels)

    monkeypatch.setattr(Training, "step", step)
    run = trained(tmp_path / "a", snapshots=["8it"], runtime=OFTEN)
    assert steps == [6, 7]
    assert toys.equal(weights(whole, 8), weights(run, 8))
    assert not run.replay.exists()


def test_several_late_snapshots_are_made_in_one_go(tmp_path, monkeypatch):
    trained(tmp_path / "a")
    steps, original = [], Training.step

    def step(self, inputs, labels):
        steps.append(self.iteration)
        original(self, inputs, labels)

    monkeypatch.setattr(Training, "step", step)
    trained(tmp_path / "a", snapshots=["2it", "5it", "7it"])
    assert steps == list(range(7))


def test_a_run_whose_last_step_diverged_is_not_done(tmp_path):
    recipe = toys.recipe(steps="1it", optimizer=lambda parameters: sgd(parameters, lr=1e38))
    with pytest.raises(FloatingPointError, match="validation loss is nan at step 1it"):
        trained(tmp_path / "a", recipe)
    with pytest.raises(FloatingPointError, match="final train loss is nan at step 1it"):
        trained(tmp_path / "b", recipe, data=toys.data(num_val=0))
    assert not (tmp_path / "b" / "result.json").exists()


def test_a_last_batch_of_one_is_refused_before_any_step(tmp_path):
    class Narrow(toys.Small):
        def forward(self, inputs):
            hidden = torch.relu(self.bn(self.conv(inputs).mean(dim=(2, 3), keepdim=True)))
            return self.output(torch.flatten(hidden.expand(-1, -1, 4, 4), 1))

    with pytest.raises(ValueError, match="hparams.batch_size=13: 40 training examples leave"):
        trained(tmp_path / "a", toys.recipe(model=Narrow, batch_size=13))
    trained(tmp_path / "b", toys.recipe(batch_size=13))  # 16 values a channel are enough


def test_options_are_named_as_typed(tmp_path):
    late = toys.recipe(averages=lambda: SWA(start="9ep"))
    with pytest.raises(ValueError, match=r"^averaged\.start: "):
        trained(tmp_path / "a", late)
    with pytest.raises(ValueError, match=r"^model\.freeze_exceptions: "):
        trained(tmp_path / "a", toys.recipe(freeze=["others"], freeze_exceptions=["nope"]))


def test_a_finished_run_is_trained_on_to_a_later_end_as_if_in_one_go(tmp_path):
    def session(end):
        made = Session(toys.recipe(), toys.data(), toys.SEEDS, toys.RUNTIME)
        made.restart(toys.SEEDS, made.model.state_dict(), end)
        return made

    parts, whole = Run(tmp_path / "parts"), Run(tmp_path / "whole")
    for run, ends in ((parts, [6, 15]), (whole, [15])):
        for end in ends:
            run.folder.mkdir(exist_ok=True)
            fit(run, partial(session, end), ["2ep"], end=end)
    for model in ("plain", "ema_0.5", "best"):
        moment = "best" if model == "best" else 15
        name = "plain" if model == "best" else model
        assert parts.weights(moment, name).read_bytes() == whole.weights(moment, name).read_bytes()
    assert parts.read_result()["evaluation"] == whole.read_result()["evaluation"]
    assert parts.read_result()["end"] == 15
    assert parts.predictions.read_bytes() == whole.predictions.read_bytes()


def test_a_run_that_has_reached_the_end_is_not_trained_again(tmp_path):
    run = trained(tmp_path / "a")

    def make():
        raise AssertionError("there is nothing to train")

    fit(run, make, end=9)
    fit(run, make, [], end=4)


def test_an_error_of_one_of_several_trainings_says_of_which(tmp_path):
    recipe = toys.recipe(optimizer=lambda parameters: sgd(parameters, lr=1e30))
    with pytest.raises(FloatingPointError, match=r"^child 2 of 1ep: the .*loss is .* at step"):
        trained(tmp_path / "a", recipe, label="child 2 of 1ep")


@pytest.mark.parametrize("has_state", [True, False])
def test_a_finished_run_makes_lost_weights_again(tmp_path, has_state, caplog):
    caplog.set_level(logging.INFO)
    whole, run = trained(tmp_path / "whole"), trained(tmp_path / "a")
    shutil.rmtree(run.folder / "weights")
    if not has_state:
        run.state.unlink()
    assert not run.is_complete(None)
    trained(tmp_path / "a")
    assert run.is_complete(None)
    assert [message for message in caplog.messages if "step_9.safetensors" in message]
    for file in whole.folder.glob("weights/*"):
        assert run.folder.joinpath("weights", file.name).read_bytes() == file.read_bytes()
    assert untimed(run) == untimed(whole)


def test_a_run_without_weights_lacks_none(tmp_path):
    run = trained(tmp_path / "a", extras=TrainHooks(save_weights=False))
    assert not list(run.folder.rglob("*.safetensors"))
    assert run.is_complete(None)


def cut(path):
    path.write_bytes(path.read_bytes()[:100])


def unlink(path):
    path.unlink()


def change(path):
    path.write_bytes(path.read_bytes().replace(b"val", b"xxx"))


@pytest.mark.parametrize("damage", [cut, unlink, change])
@pytest.mark.parametrize("iteration", [5, 9])
def test_a_table_that_is_lost_or_cut_off_is_written_anew(
    tmp_path, killed, damage, iteration, caplog
):
    whole = trained(tmp_path / "whole", runtime=OFTEN)
    arm, disarm = killed
    arm(iteration)  # 9: before the evaluation at the end
    if iteration < 9:
        with pytest.raises(KeyboardInterrupt):
            trained(tmp_path / "a", runtime=OFTEN)
    else:
        trained(tmp_path / "a", runtime=OFTEN)
        (tmp_path / "a" / "result.json").unlink()
    disarm()
    run = Run(tmp_path / "a")
    damage(run.metrics)
    trained(tmp_path / "a", runtime=OFTEN)
    assert [message for message in caplog.messages if str(run.metrics) in message]
    assert untimed(run) == untimed(whole)


def test_a_table_that_an_older_state_does_not_have_is_refused_if_it_is_lost(tmp_path, killed):
    arm, disarm = killed
    arm(5)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "a", runtime=OFTEN)
    disarm()
    run = Run(tmp_path / "a")
    state = files.load_state(run.state)
    del state["metrics"]["content"]
    files.save_state(run.state, state)
    run.metrics.unlink()
    with pytest.raises(ValueError, match="metrics.csv.*remove .*state.pt"):
        trained(tmp_path / "a", runtime=OFTEN)
    assert not run.metrics.exists()


@pytest.mark.parametrize("key", ["model", "training", "averages", "report", "metrics"])
def test_a_state_that_lacks_something_is_named(tmp_path, killed, key):
    arm, disarm = killed
    arm(5)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "a", runtime=OFTEN)
    disarm()
    path = Run(tmp_path / "a").state
    state = files.load_state(path)
    del state[key]
    files.save_state(path, state)
    with pytest.raises(ValueError, match=f"^{re.escape(str(path))}.*{key}.*remove it"):
        trained(tmp_path / "a", runtime=OFTEN)


def test_a_resumed_run_keeps_its_threads_unless_others_are_typed(tmp_path, killed, caplog):
    arm, disarm = killed
    now = torch.get_num_threads()
    before = now + 1
    try:
        torch.set_num_threads(before)
        for name in ("a", "b"):
            arm(5)
            with pytest.raises(KeyboardInterrupt):
                trained(tmp_path / name, runtime=OFTEN)
            disarm()
        torch.set_num_threads(now)
        typed = replace(OFTEN, num_threads=now)
        assert trained(tmp_path / "b", runtime=typed).read_result()["num_threads"] == now
        assert [m for m in caplog.messages if f"num_threads={now}" in m and str(before) in m]
        assert trained(tmp_path / "a", runtime=OFTEN).read_result()["num_threads"] == before
        assert torch.get_num_threads() == before
    finally:
        torch.set_num_threads(now)


def untimed(run):
    """The table of a run, without what clocks said."""
    return [row for row in table(run) if row["metric"] not in ("seconds", "images_per_second")]


def session(**changes):
    return Session(toys.recipe(**changes), toys.data(), toys.SEEDS, toys.RUNTIME)


def trained_leg(leg):
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
    leg = trained_leg(TrainingRun(Run(tmp_path), session(steps="1ep2it")))
    state = leg.state()
    assert epochs(leg.run) == [0, 3]
    leg.finish()
    assert epochs(leg.run) == [0, 3, 5]
    assert leg.run.read_result()["iteration"] == 5

    again = TrainingRun(Run(tmp_path), session(steps="3ep"))  # as if it had never been looked at
    again.begin(state)
    assert again.session.training.iteration == 5
    trained_leg(again).finish()
    assert epochs(again.run) == [0, 3, 6, 9]


def test_what_a_job_left_that_was_killed_before_its_first_state_is_removed(tmp_path):
    run = Run(tmp_path)
    run.weights(3).parent.mkdir()
    run.weights(3).write_bytes(b"of another trajectory")
    leg = TrainingRun(run, session())
    leg.tensorboard.mkdir(parents=True)
    leg.begin(None)
    assert not run.weights(3).exists() and not leg.tensorboard.exists()


def test_weights_of_a_run_that_was_done_are_kept_even_without_its_state(tmp_path):
    run = Run(tmp_path)
    trained_leg(TrainingRun(run, session())).finish()
    assert run.weights(9).exists()
    TrainingRun(run, session()).begin(None)
    assert run.weights(9).exists()


def test_a_leg_that_goes_on_says_which_one_it_is(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    first = TrainingRun(Run(tmp_path / "a"), session(epochs=1))
    (tmp_path / "a").mkdir()
    state = trained_leg(first).state()
    (tmp_path / "a").rename(tmp_path / "b")
    TrainingRun(Run(tmp_path / "b"), session(), label="child 2 of 1ep").begin(state)
    assert caplog.messages == ["child 2 of 1ep: resuming from 1ep"]


def test_the_summary_has_what_a_member_of_a_study_is(tmp_path):
    made = session()
    made.restart(toys.SEEDS, made.model.state_dict(), origin={"child_seed": 7})
    trained_leg(TrainingRun(Run(tmp_path), made)).finish()
    assert Run(tmp_path).read_result()["child_seed"] == 7
