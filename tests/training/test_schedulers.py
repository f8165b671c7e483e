from functools import partial

import pytest
import torch
from torch.optim import lr_scheduler

from isthmus.training.plateau import Plateau
from isthmus.training.schedulers import Constant, Cosine, InverseSqrt, Linear, MultiStep, Periodic

PER_EPOCH = 7
ITERATIONS = 10 * PER_EPOCH


def torchs_factors(make, num=ITERATIONS):
    """Learning rate of each of the first `num` steps under a scheduler of torch, stepped each."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = make(optimizer)
    factors = []
    for _ in range(num):
        factors.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return factors


def factors(scheduler, num=ITERATIONS):
    return [scheduler.factor(iteration) for iteration in range(num)]


def close(values):
    return pytest.approx(values, rel=1e-9, abs=1e-12)


def test_over_the_root_of_the_epoch():
    scheduler = InverseSqrt(30, 3)
    found = [scheduler.factor(iteration) for iteration in (0, 2, 3, 5, 6, 9)]
    assert found == pytest.approx([1, 1, 2**-0.5, 2**-0.5, 3**-0.5, 0.5])


def test_constant_is_1_throughout():
    assert factors(Constant(ITERATIONS, PER_EPOCH)) == [1.0] * ITERATIONS


def test_cosine_is_torchs():
    expected = torchs_factors(lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=ITERATIONS))
    assert factors(Cosine(ITERATIONS, PER_EPOCH)) == close(expected)


def test_linear_is_torchs():
    expected = torchs_factors(lambda o: lr_scheduler.LinearLR(o, 1.0, 0.0, ITERATIONS))
    assert factors(Linear(ITERATIONS, PER_EPOCH)) == close(expected)


def test_multistep_is_torchs():
    expected = torchs_factors(lambda o: lr_scheduler.MultiStepLR(o, [21, 38, 40], gamma=0.2))
    scheduler = MultiStep(ITERATIONS, PER_EPOCH, ["3ep", "5ep3it", "40it"], gamma=0.2)
    assert factors(scheduler) == close(expected)


def test_periodic_is_torchs_step_lr():
    expected = torchs_factors(lambda o: lr_scheduler.StepLR(o, 2 * PER_EPOCH, gamma=0.97))
    assert factors(Periodic(ITERATIONS, PER_EPOCH, "2ep", 0.97)) == close(expected)


@pytest.mark.parametrize("make", [Constant, Cosine, Linear], ids=lambda make: make.__name__)
def test_warmup_is_torchs_and_the_rest_counts_from_its_end(make):
    warmup = 12
    rise = torchs_factors(
        lambda o: lr_scheduler.LinearLR(o, 1 / warmup, 1.0, total_iters=warmup - 1), warmup
    )
    rest = factors(make(ITERATIONS - warmup, PER_EPOCH), ITERATIONS - warmup)
    assert factors(make(ITERATIONS, PER_EPOCH, "1ep5it")) == close(rise + rest)


@pytest.mark.parametrize("make", [Constant, Cosine, Linear], ids=lambda make: make.__name__)
def test_warmup_begins_above_0_and_ends_at_the_base(make):
    scheduler = make(ITERATIONS, PER_EPOCH, "2ep")
    assert scheduler.factor(0) == 1 / 14
    assert scheduler.factor(13) == scheduler.factor(14) == 1


def test_warmup_of_a_multistep_multiplies():
    plain = MultiStep(ITERATIONS, PER_EPOCH, ["1ep"], 0.1)
    warm = MultiStep(ITERATIONS, PER_EPOCH, ["1ep"], 0.1, warmup="2ep")
    rise = [min(1, (i + 1) / 14) for i in range(ITERATIONS)]
    expected = [p * r for p, r in zip(factors(plain), rise, strict=True)]
    assert factors(warm) == close(expected)


@pytest.mark.parametrize("make", [Cosine, Linear], ids=lambda make: make.__name__)
def test_the_end_is_at_0_and_the_last_step_above(make):
    scheduler = make(ITERATIONS, PER_EPOCH, "1ep")
    assert scheduler.factor(ITERATIONS) == 0
    assert scheduler.factor(ITERATIONS - 1) > 0


def test_the_milestones_of_he_are_at_epochs_90_and_135():
    scheduler = MultiStep(180 * 352, 352, ["90ep", "135ep"], 0.1)
    moments = [0, 90 * 352 - 1, 90 * 352, 135 * 352 - 1, 135 * 352, 180 * 352 - 1]
    assert [scheduler.factor(i) for i in moments] == close([1, 1, 0.1, 0.1, 0.01, 0.01])


def test_a_milestone_past_the_end_is_never_met():
    scheduler = MultiStep(2 * PER_EPOCH, PER_EPOCH, ["90ep", "135ep"], 0.1)
    assert factors(scheduler, 2 * PER_EPOCH) == [1.0] * 2 * PER_EPOCH


UNMET = [
    (partial(MultiStep, milestones=["2ep", "69it"]), 70, None, ""),
    (partial(MultiStep, milestones=["2ep", "69it"]), 69, "[2ep,69it]", "falls at 2ep only: 69it"),
    (partial(MultiStep, milestones=["2ep", "69it"]), 14, "[2ep,69it]", "constant: none of the mil"),
    (partial(MultiStep, milestones=["9ep"], warmup="1ep"), 14, "[9ep]", "constant after the warm"),
    (partial(MultiStep, milestones=[]), 14, None, ""),
    (partial(Periodic, period="2ep", gamma=0.5), 15, None, ""),
    (partial(Periodic, period="2ep", gamma=0.5), 14, "2ep", "constant: the period, 2ep"),
    (partial(Plateau, patience=1), 22, None, ""),
    (partial(Plateau, patience=1), 21, "1", "constant: a patience of 1 epochs"),
    (Cosine, 14, None, ""),
    (InverseSqrt, 7, None, ""),
]


@pytest.mark.parametrize(("make", "end", "value", "schedule"), UNMET)
def test_an_option_that_says_nothing_before_the_end_is_known(make, end, value, schedule):
    scheduler = make(end, PER_EPOCH)
    unmet = scheduler.unmet(end)
    assert (unmet and unmet.value) == value
    assert unmet is None or unmet.schedule.startswith(schedule)
    rates = []
    for iteration in range(end):  # the validation loss never improves after the first epoch
        rates.append(scheduler.factor(iteration))
        if (iteration + 1) % PER_EPOCH == 0:
            scheduler.observe(1.0)
    if schedule.startswith("constant: "):
        assert len(set(rates)) == 1
    elif isinstance(scheduler, Periodic | Plateau):
        assert len(set(rates)) == 2


def test_no_milestones_is_constant():
    assert factors(MultiStep(5, PER_EPOCH, []), 5) == [1.0] * 5


@pytest.mark.parametrize("make", [Constant, Cosine, Linear], ids=lambda make: make.__name__)
def test_a_training_of_one_step_has_the_base(make):
    assert make(1, PER_EPOCH).factor(0) == 1
    assert make(1, PER_EPOCH, "1it").factor(0) == 1


@pytest.mark.parametrize("make", [Constant, Cosine, Linear], ids=lambda make: make.__name__)
def test_a_training_of_no_steps_can_be_planned(make):
    make(0, PER_EPOCH)


def test_without_memory_nothing_is_saved_and_nothing_observed():
    scheduler = Cosine(ITERATIONS, PER_EPOCH)
    scheduler.observe(3.0)
    scheduler.load_state_dict(scheduler.state_dict())
    assert scheduler.state_dict() == {}
    assert factors(scheduler) == factors(Cosine(ITERATIONS, PER_EPOCH))


@pytest.mark.parametrize("make", [Cosine, Linear], ids=lambda make: make.__name__)
def test_a_step_past_the_end_is_refused(make):
    with pytest.raises(
        ValueError, match="no learning rate for the step after 71 iterations: .* 70"
    ):
        make(ITERATIONS, PER_EPOCH).factor(71)


@pytest.mark.parametrize("make", [Constant, Cosine, Linear], ids=lambda make: make.__name__)
def test_a_warmup_longer_than_training_is_refused(make):
    message = r"^warmup: 3ep \(21 iterations\) is longer than the training, 2ep6it \(20 iterations"
    with pytest.raises(ValueError, match=message):
        make(20, PER_EPOCH, "3ep")


@pytest.mark.parametrize("milestones", [["2ep", "1ep"], ["7it", "1ep"], ["0ep", "1ep"]])
def test_milestones_that_do_not_increase_are_refused(milestones):
    with pytest.raises(ValueError, match="^milestones: must increase, from above 0, got"):
        MultiStep(ITERATIONS, PER_EPOCH, milestones)


def test_wrong_values_are_refused_by_name():
    with pytest.raises(ValueError, match="^gamma: must be positive, got 0$"):
        MultiStep(ITERATIONS, PER_EPOCH, ["1ep"], gamma=0)
    with pytest.raises(ValueError, match="^gamma: must be positive, got -1$"):
        Periodic(ITERATIONS, PER_EPOCH, "2ep", gamma=-1)
    with pytest.raises(ValueError, match="^period: must be at least 1it, got 0ep$"):
        Periodic(ITERATIONS, PER_EPOCH, "0ep", gamma=0.5)
    with pytest.raises(ValueError, match="'soon' is not a step"):
        Constant(ITERATIONS, PER_EPOCH, "soon")
