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
