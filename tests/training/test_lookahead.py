import io

import pytest
import torch
from torch import nn

from isthmus.training.optimizers import lookahead


def fast_steps(num_steps, seed=0, size=6):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((num_steps, size), generator=generator, dtype=torch.float64)


def take(optimizer, weight, gradients):
    for gradient in gradients:
        weight.grad = gradient.clone()
        optimizer.step()


@pytest.mark.parametrize("period, alpha", [(1, 0.5), (3, 0.8), (5, 0.2), (4, 0.0)])
def test_it_is_the_loop_of_the_paper(period, alpha):
    weight = nn.Parameter(torch.zeros(6, dtype=torch.float64))
    gradients = fast_steps(11)
    take(lookahead([weight], lr=0.1, period=period, alpha=alpha), weight, gradients)

    fast = slow = torch.zeros(6, dtype=torch.float64)
    for step, gradient in enumerate(gradients, start=1):
        fast = fast - 0.1 * gradient
        if step % period == 0:
            fast = slow = alpha * fast + (1 - alpha) * slow
    torch.testing.assert_close(weight.detach(), fast, rtol=1e-12, atol=1e-12)


def test_slow_weights_begin_as_the_weights_loaded_before_the_first_step():
    weight = nn.Parameter(torch.full((6,), 100.0, dtype=torch.float64))
    optimizer = lookahead([weight], lr=0.1, period=1, alpha=0.5)
    with torch.no_grad():
        weight.zero_()
    take(optimizer, weight, torch.ones((1, 6), dtype=torch.float64))
    torch.testing.assert_close(weight.detach(), torch.full_like(weight, -0.05))


def test_slow_weights_are_saved_and_the_period_goes_on():
    gradients = fast_steps(13)
    whole = nn.Parameter(torch.zeros(6, dtype=torch.float64))
    take(lookahead([whole], lr=0.1, momentum=0.9, period=4), whole, gradients)

    weight = nn.Parameter(torch.zeros(6, dtype=torch.float64))
    optimizer = lookahead([weight], lr=0.1, momentum=0.9, period=4)
    take(optimizer, weight, gradients[:6])  # in the middle of a period
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    again = nn.Parameter(weight.detach().clone())
    optimizer = lookahead([again], lr=0.1, momentum=0.9, period=4)
    optimizer.load_state_dict(torch.load(file, weights_only=True))
    take(optimizer, again, gradients[6:])
    assert torch.equal(whole, again)


def test_momentum_is_kept_through_a_synchronization():
    weight = nn.Parameter(torch.zeros(1, dtype=torch.float64))
    optimizer = lookahead([weight], lr=1.0, momentum=0.5, period=1, alpha=0.5)
    take(optimizer, weight, torch.ones((2, 1), dtype=torch.float64))
    # fast -1, meets 0 at -0.5; buffer 1.5, fast -2, meets -0.5 at -1.25
    torch.testing.assert_close(weight.detach(), torch.tensor([-1.25], dtype=torch.float64))


def test_a_changed_learning_rate_counts_at_the_next_step():
    weight = nn.Parameter(torch.zeros(1))
    optimizer = lookahead([weight], lr=1.0, period=5)
    optimizer.param_groups[0]["lr"] = 0.25
    take(optimizer, weight, torch.ones(1, 1))
    assert weight.item() == -0.25


def test_a_parameter_without_gradient_stays_bit_for_bit():
    used, unused = nn.Parameter(torch.zeros(3)), nn.Parameter(torch.tensor([0.1, 1 / 3, 7.7]))
    before = unused.detach().clone()
    optimizer = lookahead([used, unused], lr=0.1, period=2)
    take(optimizer, used, torch.ones(6, 3))
    assert torch.equal(unused, before)


def test_the_closures_loss_is_returned():
    weight = nn.Parameter(torch.ones(1))
    weight.grad = torch.ones(1)
    assert lookahead([weight], lr=0.1).step(lambda: 3.5) == 3.5


def test_hooks_of_a_step_run_once():
    torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.1)  # patches SGD.step for its own hooks
    weight = nn.Parameter(torch.ones(1))
    optimizer = lookahead([weight], lr=0.1)
    calls = []
    optimizer.register_step_post_hook(lambda *_: calls.append("step"))
    take(optimizer, weight, torch.ones(1, 1))
    assert calls == ["step"]
