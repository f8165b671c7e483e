import io
from functools import partial

import pytest
import torch
from torch import nn

from isthmus.training import param_groups
from isthmus.training.optimizers import adam, adamw, lookahead, sgd
from isthmus.training.param_groups import Lookahead, ParamGroup

NAMED = {name: nn.Parameter(torch.ones(2)) for name in ("first", "second", "third")}
GIVEN = [
    ParamGroup("low", ("first", "second"), lr=2.0, eps=3.0, first_lr=10.0, first_steps=2),
    ParamGroup("high", ("third",), lr=0.5),
]


@pytest.mark.parametrize(
    ("make", "rule"), [(sgd, "sgd"), (lookahead, "sgd"), (adam, "adam"), (adamw, "adam")]
)
def test_the_rule_is_that_of_the_optimizer(make, rule):
    assert param_groups.lr_rule(partial(make, lr=0.1)) == rule


@pytest.mark.parametrize(
    "make", [torch.optim.Rprop, lambda given: Lookahead(torch.optim.Rprop(given), 5, 0.5)]
)
def test_an_optimizer_of_another_kind_is_refused(make):
    with pytest.raises(ValueError, match="rates for SGD and Adam, and optimizer is Rprop"):
        param_groups.lr_rule(make)


def lrs(optimizer, iteration, factor=1.0):
    param_groups.set_rates_(optimizer, [0.1] * len(optimizer.param_groups), factor, iteration)
    return [group["lr"] for group in optimizer.param_groups]


def test_the_first_steps_have_rates_of_their_own_and_all_others_follow_the_schedule():
    optimizer = param_groups.build_optimizer(partial(sgd, lr=0.1), GIVEN, NAMED)
    assert lrs(optimizer, 0) == pytest.approx([1.0, 0.05])
    assert lrs(optimizer, 1, 0.5) == pytest.approx([1.0, 0.025])
    assert lrs(optimizer, 2, 0.5) == pytest.approx([0.1, 0.025])
    assert lrs(optimizer, 2) == pytest.approx([0.2, 0.05])
    assert param_groups.base_lr(optimizer) == pytest.approx(0.1)


def test_weight_decay_takes_the_same_share_of_all_weights_in_all_steps():
    optimizer = param_groups.build_optimizer(partial(sgd, lr=0.1, weight_decay=0.01), GIVEN, NAMED)
    for iteration in (0, 2, 1):
        lrs(optimizer, iteration)
        for group in optimizer.param_groups:
            assert group["lr"] * group["weight_decay"] == pytest.approx(0.1 * 0.01)


def test_eps_has_a_factor_too():
    optimizer = param_groups.build_optimizer(partial(adam, lr=0.1, eps=1e-3), GIVEN, NAMED)
    assert [group["eps"] for group in optimizer.param_groups] == pytest.approx([3e-3, 1e-3])


def test_what_is_frozen_is_in_no_group():
    optimizer = param_groups.build_optimizer(
        partial(sgd, lr=0.1), GIVEN, {"second": NAMED["second"]}
    )
    assert [group["params"] for group in optimizer.param_groups] == [[NAMED["second"]]]


def test_an_optimizer_without_such_groups_has_one_rate():
    optimizer = sgd(NAMED.values(), lr=0.1, weight_decay=0.01)
    assert lrs(optimizer, 0, 0.5) == [0.05]
    assert param_groups.base_lr(optimizer) == 0.05
    assert optimizer.param_groups[0]["weight_decay"] == 0.01
    assert param_groups.calibrated_lrs(optimizer) == {}


def test_calibrated_rates_take_the_place_of_the_optimizers_own_and_go_with_its_state():
    optimizer = param_groups.build_optimizer(partial(sgd, lr=0.1), GIVEN, NAMED)
    param_groups.set_first_lrs_(optimizer, {"low": 7.0}, [0.1, 0.1])
    assert lrs(optimizer, 0) == pytest.approx([70.0, 0.05])
    assert lrs(optimizer, 2) == pytest.approx([0.2, 0.05])
    other = param_groups.build_optimizer(partial(sgd, lr=0.1), GIVEN, NAMED)
    other.load_state_dict(optimizer.state_dict())
    assert lrs(other, 1) == pytest.approx([70.0, 0.05])
    assert param_groups.calibrated_lrs(other) == {"low": 7.0}


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
