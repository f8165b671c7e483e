import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from isthmus.training import loop
from isthmus.training.loop import CHECK_EVERY, Callback, RunningMetrics, Training, train
from isthmus.training.optimizers import sgd
from isthmus.training.schedulers import Constant, Cosine

INPUTS = torch.randn(20, 5, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(20) % 3


class FixedBatches:
    """Batches of eight in the same order every epoch; the last has four."""

    iterations_per_epoch = 3

    def epoch(self, epoch, start=0):
        for first in range(8 * start, 20, 8):
            yield INPUTS[first : first + 8], LABELS[first : first + 8]


def training(lr=0.1, scheduler=Constant, seed=0, dropout=0.0, **options):
    torch.manual_seed(7)
    model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Dropout(dropout), nn.Linear(8, 3))
    optimizer = sgd(model.parameters(), lr=lr, momentum=0.9, weight_decay=0.01)
    return Training(
        model, optimizer, scheduler(9, 3), iterations_per_epoch=3, dropout_seed=seed, **options
    )


def weights(trained):
    return nn.utils.parameters_to_vector(trained.model.parameters()).detach()


def test_training_equals_a_plain_loop_of_torch():
    ours = training(scheduler=Cosine, clip=0.5)
    train(ours, FixedBatches(), 9, [])

    model = training().model
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 9)
    for _ in range(3):
        for inputs, labels in FixedBatches().epoch(0):
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), labels).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
            scheduler.step()
    torch.testing.assert_close(weights(ours), nn.utils.parameters_to_vector(model.parameters()))


def test_an_end_within_an_epoch_is_reached_exactly():
    stopped = training()
    train(stopped, FixedBatches(), 5, [])
    assert stopped.iteration == 5


def test_going_on_from_a_state_equals_not_having_stopped():
    whole = training(dropout=0.5)
    train(whole, FixedBatches(), 9, [])

    first = training(dropout=0.5)
    train(first, FixedBatches(), 5, [])
    first.check_losses()
    second = training(dropout=0.5)
    second.model.load_state_dict(first.model.state_dict())
    second.load_state_dict(first.state_dict())
    train(second, FixedBatches(), 9, [])
    assert torch.equal(weights(whole), weights(second))
    whole.check_losses()
    second.check_losses()
    assert whole.state_dict()["running"] == second.state_dict()["running"]


def test_dropout_depends_on_its_seed_and_on_nothing_drawn_elsewhere():
    first, same, other = (training(dropout=0.5, seed=seed) for seed in (1, 1, 2))
    train(first, FixedBatches(), 4, [])
    noise = Callback(loop.after_every_step, lambda _: torch.rand(3))
    train(same, FixedBatches(), 4, [noise])
    train(other, FixedBatches(), 4, [])
    assert torch.equal(weights(first), weights(same))
    assert not torch.equal(weights(first), weights(other))


def test_a_leg_has_its_own_learning_rate_after_loading_a_state():
    first = training(lr=0.1)
    train(first, FixedBatches(), 2, [])
    first.check_losses()
    leg = training(lr=0.025)
    leg.load_state_dict(first.state_dict())
    assert leg.lr() == 0.025
    leg.step(INPUTS, LABELS)
    assert leg.optimizer.param_groups[0]["lr"] == 0.025


def test_running_means_are_those_of_the_examples_of_the_epoch():
    seen = []
    measured = training(lr=1e-12)  # the network stays as it is
    train(
        measured,
        FixedBatches(),
        6,
        [Callback(loop.at_iterations([3, 6]), lambda t: t.check_losses())],
    )
    model = measured.model
    with torch.no_grad():
        seen = model(INPUTS)
    assert measured.running.num_examples == 20
    assert measured.running.loss() == pytest.approx(F.cross_entropy(seen, LABELS).item(), rel=1e-5)
    accuracy = (seen.argmax(dim=1) == LABELS).float().mean().item()
    assert measured.running.accuracy() == pytest.approx(accuracy)


def test_a_loss_that_is_not_finite_stops_and_names_its_step():
    broken = training()
    poison = Callback(loop.at_iterations([4]), lambda t: t.model[0].weight.data.fill_(float("nan")))
    look = Callback(loop.at_iterations([6]), lambda t: t.check_losses())
    with pytest.raises(FloatingPointError, match=r"loss is nan at step 1ep1it \(iteration 4\)"):
        train(broken, FixedBatches(), 9, [poison, look])


def test_a_loss_that_is_not_finite_is_seen_without_anybody_looking():
    broken = training(lr=1e30)
    with pytest.raises(FloatingPointError, match="optimizer.lr"):
        train(broken, FixedBatches(), 2 * CHECK_EVERY, [])


def test_callbacks_are_called_at_their_moments_in_their_order():
    calls = []

    def noting(name):
        return lambda t: calls.append((name, t.iteration))

    callbacks = [
        Callback(loop.after_every_step, noting("step")),
        Callback(loop.every_iterations(3), noting("epoch")),
        Callback(loop.at_iterations([0, 2]), noting("at")),
    ]
    train(training(), FixedBatches(), 4, callbacks)
    assert calls == [
        ("epoch", 0), ("at", 0), ("step", 1), ("step", 2), ("at", 2), ("step", 3), ("epoch", 3),
        ("step", 4),
    ]  # fmt: skip


def test_a_callback_can_stop_the_training():
    def stop(stopping):
        stopping.stopped = True

    stopped = training()
    train(stopped, FixedBatches(), 9, [Callback(loop.at_iterations([4]), stop)])
    assert stopped.iteration == 4


def test_frozen_parameters_stay_as_they_are():
    torch.manual_seed(7)
    model = nn.Sequential(nn.Linear(5, 8), nn.Linear(8, 3))
    model[0].weight.requires_grad_(False)
    before = model[0].weight.clone()
    optimizer = sgd([p for p in model.parameters() if p.requires_grad], lr=0.1, weight_decay=0.5)
    frozen = Training(model, optimizer, Constant(9, 3), iterations_per_epoch=3, dropout_seed=0)
    train(frozen, FixedBatches(), 3, [])
    assert torch.equal(model[0].weight, before)


def test_bfloat16_keeps_the_weights_in_float32_and_stays_near():
    full, half = training(), training(autocast=torch.bfloat16)
    for trained in (full, half):
        train(trained, FixedBatches(), 6, [])
    assert weights(half).dtype == torch.float32
    assert not torch.equal(weights(full), weights(half))
    torch.testing.assert_close(weights(full), weights(half), atol=0.02, rtol=0.02)


class Watching:
    """A constraint that writes down when it is asked, and clips by hand."""

    def __init__(self, model):
        self.model, self.told = model, []

    def on_gradients(self):
        self.told.append("gradients")
        for parameter in self.model.parameters():
            parameter.grad.zero_()

    def on_weights(self):
        self.told.append("weights")


def test_a_constraint_is_asked_before_gradients_are_read_and_after_weights_are_set():
    made = training(clip=0.5)
    before = weights(made)
    constraint = Watching(made.model)
    made.restart(torch.optim.SGD(made.model.parameters(), lr=0.1), Constant(9, 3), 0, constraint)
    assert constraint.told == ["weights"]
    train(made, FixedBatches(), 2, [Callback(loop.after_every_step, lambda _: None)])
    assert constraint.told == ["weights"] + ["gradients", "weights"] * 2
    assert torch.equal(weights(made), before)  # all gradients were taken away in time


CPU = torch.device("cpu")


def test_means_weigh_each_batch_by_its_size():
    running = RunningMetrics(CPU)
    running.add(torch.tensor(1.0), torch.tensor(3), 4)
    running.add(torch.tensor(4.0), torch.tensor(1), 2)
    running.collect_losses()
    assert running.loss() == 2.0
    assert running.accuracy() == pytest.approx(4 / 6)
    running.clear()
    assert running.num_examples == 0


def test_the_sum_of_losses_is_the_same_wherever_one_looks():
    losses = torch.rand(10, generator=torch.Generator().manual_seed(0)) / 3
    once, often = RunningMetrics(torch.device("cpu")), RunningMetrics(torch.device("cpu"))
    for number, loss in enumerate(losses):
        for running in (once, often):
            running.add(loss, torch.tensor(0), 7)
        if number % 3 == 1:
            often.collect_losses()
    once.collect_losses()
    often.collect_losses()
    assert once.loss_sum == often.loss_sum


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_the_first_loss_that_is_not_finite_is_counted_back_to(bad):
    running = RunningMetrics(CPU)
    for loss in (1.0, bad, 1.0, bad):
        running.add(torch.tensor(loss), torch.tensor(0), 1)
    ago, loss = running.collect_losses()
    assert ago == 3
    assert not math.isfinite(loss)


def test_an_interrupted_epoch_goes_on_from_its_sums():
    whole, first, second = RunningMetrics(CPU), RunningMetrics(CPU), RunningMetrics(CPU)
    for number in range(6):
        for running in (whole, first if number < 3 else second):
            if number == 3 and running is second:
                first.collect_losses()
                second.load_state_dict(first.state_dict())
            running.add(torch.tensor(number / 7), torch.tensor(number % 2), 5)
    whole.collect_losses()
    second.collect_losses()
    assert whole.state_dict() == second.state_dict()
