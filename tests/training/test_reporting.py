import csv
import logging
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from isthmus.training.fit import update_averages
from isthmus.training.loop import Callback, every_iterations, train
from isthmus.training.plateau import Plateau
from isthmus.training.reporting import METRIC_COLUMNS, EpochReport, Metrics, Number, Progress
from isthmus.training.session import Session
from tests import toys


def rows(path):
    with path.open() as file:
        return list(csv.reader(file))


def test_the_table_is_tidy_and_of_full_precision(tmp_path):
    metrics = Metrics(tmp_path / "metrics.csv", None, iterations_per_epoch=4)
    metrics.write(6, [Number("loss", 1 / 3, "val", "ema_0.9"), Number("lr", 0.1)])
    assert rows(tmp_path / "metrics.csv") == [
        list(METRIC_COLUMNS),
        ["6", "1.5", "val", "ema_0.9", "loss", repr(1 / 3)],
        ["6", "1.5", "", "plain", "lr", "0.1"],
    ]


def test_rows_after_the_state_are_cut_off_when_a_run_goes_on(tmp_path):
    path = tmp_path / "metrics.csv"
    metrics = Metrics(path, None, 4)
    metrics.write(4, [Number("lr", 1.0)])
    state = metrics.state_dict()
    metrics.write(8, [Number("lr", 2.0)])
    with path.open("a") as file:
        file.write("12,3,tr")  # killed while writing

    again = Metrics(path, None, 4)
    again.load_state_dict(state, iteration=4)
    again.write(8, [Number("lr", 3.0)])
    assert [row[-1] for row in rows(path)] == ["value", "1.0", "3.0"]


def test_a_run_that_starts_over_starts_its_table_over(tmp_path):
    for value in (1.0, 2.0):
        Metrics(tmp_path / "metrics.csv", None, 4).write(4, [Number("lr", value)])
    assert [row[-1] for row in rows(tmp_path / "metrics.csv")] == ["value", "2.0"]


def test_a_table_that_cannot_be_written_is_named(tmp_path):
    metrics = Metrics(tmp_path / "absent" / "metrics.csv", None, 4)
    with pytest.raises(OSError, match="metrics.csv"):
        metrics.write(4, [Number("lr", 1.0)])


def test_tensorboard_has_the_same_numbers_and_the_hparams(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.metadata import parse_session_start_info_plugin_data

    metrics = Metrics(tmp_path / "metrics.csv", tmp_path / "events", 4)
    losses = [Number("loss", 1.0, "val"), Number("loss", 0.5, "val", "ema_0.9")]
    metrics.write(4, [*losses, Number("lr", 0.25)])
    final = [
        Number("final_accuracy", 0.75, "test"),
        Number("final_accuracy", 0.875, "test", "ema_0.9"),
    ]
    metrics.write(8, final)
    metrics.write_hparams({"optimizer.lr": 0.25}, final, 8, averaged="ema_0.9")
    metrics.close()
    scalars, hparams, names = {}, {}, set()
    for folder in (tmp_path / "events").iterdir():
        events = EventAccumulator(str(folder))
        events.Reload()
        tags = events.Tags()["scalars"]
        scalars[folder.name] = {tag: [e.value for e in events.Scalars(tag)] for tag in tags}
        content = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
        start = parse_session_start_info_plugin_data(content)
        hparams[folder.name] = {
            key: v.string_value or v.number_value for key, v in start.hparams.items()
        }
        names.add(start.group_name)
    assert scalars == {
        "plain": {
            "loss/val": [1.0],
            "lr": [0.25],
            "final_accuracy/test": [0.75],
            "final_accuracy/test/averaged": [0.875],
        },
        "ema_0.9": {"loss/val": [0.5], "final_accuracy/test": [0.875]},
    }
    assert hparams == {name: {"optimizer.lr": 0.25, "weights": name} for name in scalars}
    assert len(names) == 2  # TensorBoard takes those of one name for repetitions


def test_events_after_the_state_are_hidden_when_a_run_goes_on(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    first = Metrics(tmp_path / "metrics.csv", tmp_path / "events", 4)
    first.write(4, [Number("lr", 1.0)])
    state = first.state_dict()
    first.write(8, [Number("lr", 2.0)])
    first.close()
    again = Metrics(tmp_path / "metrics.csv", tmp_path / "events", 4)
    again.load_state_dict(state, iteration=4)
    again.write(8, [Number("lr", 3.0)])
    again.close()
    events = EventAccumulator(str(tmp_path / "events" / "plain"))
    events.Reload()
    assert [e.value for e in events.Scalars("lr")] == [1.0, 3.0]


def test_lost_events_are_those_of_the_table(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    first = Metrics(tmp_path / "metrics.csv", None, 4)
    first.write(4, [Number("loss", 1.0, "val"), Number("loss", 0.5, "val", "swa")])
    again = Metrics(tmp_path / "metrics.csv", tmp_path / "events", 4)
    again.load_state_dict(first.state_dict(), iteration=4)
    again.close()
    for model, value in {"plain": 1.0, "swa": 0.5}.items():
        events = EventAccumulator(str(tmp_path / "events" / model))
        events.Reload()
        assert [(e.step, e.value) for e in events.Scalars("loss/val")] == [(4, value)]


def test_without_a_terminal_each_epoch_is_a_line_of_the_log(caplog):
    caplog.set_level(logging.INFO)
    report = SimpleNamespace(summary="train loss 0.5")
    training = SimpleNamespace(iteration=0, iterations_per_epoch=4)
    progress = Progress(training, 8, report, bar=True)
    training.iteration = 4
    progress.advance()
    progress.show()
    training.iteration = 6  # the end: in an epoch
    progress.close()
    assert caplog.messages == ["1ep  train loss 0.5", "1ep2it  train loss 0.5"]


def test_on_a_terminal_the_bar_shows_the_numbers(monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    report = SimpleNamespace(summary="train loss 0.5")
    training = SimpleNamespace(iteration=2, iterations_per_epoch=4)
    progress = Progress(training, 8, report, bar=True)
    assert (progress.bar.n, progress.bar.total) == (2, 8)
    progress.advance()
    progress.show()
    progress.close()
    assert "train loss 0.5" in capsys.readouterr().err


def test_one_among_many_trainings_is_named_and_told_of_at_its_end(caplog):
    caplog.set_level(logging.INFO)
    report = SimpleNamespace(summary="train loss 0.5")
    training = SimpleNamespace(iteration=0, iterations_per_epoch=4)
    progress = Progress(training, 8, report, bar=True, label="child 2 of 1ep")
    for iteration in (4, 8):
        training.iteration = iteration
        progress.show()
    assert caplog.messages == ["child 2 of 1ep: 2ep  train loss 0.5"]


@pytest.mark.parametrize(
    ("end", "told"),
    [
        (8, [0, 4, 8]),
        (400, list(range(0, 401, 4))),
        (410, [*range(0, 401, 8), 408]),
        (4803, [*range(0, 4801, 52), 4800]),
    ],
)
def test_of_many_epochs_a_hundred_are_told(end, told):
    training = SimpleNamespace(iteration=0, iterations_per_epoch=4)
    _, telling = Progress(training, end, SimpleNamespace(summary=""), bar=False).callbacks()
    found = [step for step in range(end + 1) if telling.when(step)]
    assert found == sorted(set(told))
    assert len(found) <= 102


def session(**changes):
    return Session(toys.recipe(**changes), toys.data(), toys.SEEDS, toys.RUNTIME)


def reported(made, end=9, **options):
    report = EpochReport(made, None, **options)
    train(made.training, made.batches, end, [Callback(every_iterations(3), report)])
    return report


def test_the_norms_and_distances_are_those_of_the_parameters(tmp_path):
    made = session()
    metrics = Metrics(tmp_path / "metrics.csv", None, 3)
    train(
        made.training, made.batches, 3, [Callback(every_iterations(3), EpochReport(made, metrics))]
    )
    rows = [line.split(",") for line in metrics.path.read_text().splitlines()]
    found = {(row[4], row[3]): float(row[5]) for row in rows if row[0] == "3"}
    plain = torch.cat([p.detach().flatten() for p in made.model.parameters()])
    names = [name for name, _ in made.model.named_parameters()]
    average = torch.cat([made.models()["ema_0.9"][name].flatten() for name in names])
    assert found["weight_norm", "plain"] == pytest.approx(plain.norm().item(), rel=1e-5)
    assert found["weight_norm", "ema_0.9"] == pytest.approx(average.norm().item(), rel=1e-5)
    distance = (plain - average).norm().item()
    assert found["weight_distance", "ema_0.9"] == pytest.approx(distance, rel=1e-5)


def test_the_scheduler_is_told_the_validation_loss_of_every_epoch():
    observed = []

    class Listening(Plateau):
        def observe(self, val_loss):
            observed.append(val_loss)

    made = session(scheduler=Listening)
    report = reported(made)
    assert len(observed) == 3
    assert report.best.loss <= min(observed)


def test_a_report_goes_on_from_its_state():
    made = session()
    whole = reported(made)
    first, second = session(), session()
    half = EpochReport(first, None)
    train(first.training, first.batches, 6, [Callback(every_iterations(3), half)])
    second.load_state_dict(first.model.state_dict(), first.state_dict())
    rest = EpochReport(second, None)
    rest.load_state_dict(half.state_dict())
    train(second.training, second.batches, 9, [Callback(every_iterations(3), rest)])
    for name, best in whole.bests().items():
        other = rest.bests()[name]
        assert toys.equal(other.weights, best.weights)
        assert vars(replace(other, weights={})) == vars(replace(best, weights={}))
    assert list(whole.bests()) == ["best", "best_averaged"]
    assert rest.steps == whole.steps
    for name, epochs in whole.correct.items():
        assert all(torch.equal(a, b) for a, b in zip(epochs, rest.correct[name], strict=True))


def test_the_best_weights_are_out_of_reach_of_further_training():
    made = session()
    report = EpochReport(made, None)
    train(made.training, made.batches, 3, [Callback(every_iterations(3), report)])
    for best in report.bests().values():
        copy = {name: tensor.clone() for name, tensor in best.weights.items()}
        train(made.training, made.batches, made.training.iteration + 3, update_averages(made))
        assert toys.equal(copy, best.weights)


def test_a_state_of_an_older_version_has_the_best_network_as_trained():
    report = reported(session())
    state, best = report.state_dict(), report.best
    old = {"best": best.weights, "best_loss": best.loss, "best_iteration": best.iteration}
    state = {key: value for key, value in state.items() if key != "bests"} | old
    rest = EpochReport(session(), None)
    rest.load_state_dict(state | {"epochs_since_best": best.epochs_since})
    assert vars(rest.best) == vars(best)
    assert rest.bests().keys() == {"best"}
    rest.load_state_dict(state | {"best": {}, "epochs_since_best": 0})
    assert rest.bests() == {}
