import logging
from types import SimpleNamespace

import pytest

from isthmus.training.reporting import Progress


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
