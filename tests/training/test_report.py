import pytest
import torch

from isthmus.training.loop import Callback, every_iterations, train
from isthmus.training.plateau import Plateau
from isthmus.training.reporting import EpochReport, Metrics
from isthmus.training.session import Session
from tests import toys


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
    assert report.best_loss <= min(observed)


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
    assert rest.best_loss == whole.best_loss
    assert toys.equal(rest.best, whole.best)
    assert rest.steps == whole.steps
    for name, epochs in whole.correct.items():
        assert all(torch.equal(a, b) for a, b in zip(epochs, rest.correct[name], strict=True))


def test_the_best_weights_are_out_of_reach_of_further_training():
    made = session()
    report = EpochReport(made, None)
    train(made.training, made.batches, 3, [Callback(every_iterations(3), report)])
    best = {name: tensor.clone() for name, tensor in report.best.items()}
    train(made.training, made.batches, 6, [])
    assert toys.equal(best, report.best)
