import csv

import pytest

from isthmus.training.reporting import METRIC_COLUMNS, Metrics, Number


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

    metrics = Metrics(tmp_path / "metrics.csv", tmp_path / "events", 4)
    metrics.write(4, [Number("loss", 0.5, "val", "ema_0.9"), Number("lr", 0.25)])
    final = [Number("final_accuracy", 0.75, "test")]
    metrics.write(8, final)
    metrics.write_hparams({"optimizer.lr": 0.25}, final)
    metrics.close()
    events = EventAccumulator(str(tmp_path / "events"))
    events.Reload()
    scalars = {tag: [e.value for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    assert scalars == {
        "loss/val/ema_0.9": [0.5],
        "lr/plain": [0.25],
        "final_accuracy/test/plain": [0.75],
    }
    assert "_hparams_/session_start_info" in events.summary_metadata


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
    events = EventAccumulator(str(tmp_path / "events"))
    events.Reload()
    assert [e.value for e in events.Scalars("lr/plain")] == [1.0, 3.0]
