import math

import pytest
import torch

from isthmus.training.loop import RunningMetrics

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
