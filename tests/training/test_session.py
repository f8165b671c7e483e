import re
from functools import partial

import pytest
import torch
from torch import nn

from isthmus.averaging.ema import EMA
from isthmus.store import files
from isthmus.store.files import Run
from isthmus.training import options
from isthmus.training import session as training_session
from isthmus.training.loop import Callback, after_every_step, train
from isthmus.training.options import StreamSeeds
from isthmus.training.schedulers import Constant, InverseSqrt
from isthmus.training.session import Session
from tests import toys


def session(**changes):
    return Session(toys.recipe(**changes), toys.data(), toys.SEEDS, toys.RUNTIME)


def test_the_planned_length_counts_the_last_small_batch():
    made = session(epochs=3)
    assert (made.iterations_per_epoch, made.end) == (3, 9)  # 40 examples in batches of 16
    assert session(steps="1ep2it").end == 5


def test_initial_weights_depend_on_their_seed_alone():
    torch.manual_seed(1)
    first = session()
    torch.manual_seed(2)
    second = session(batch_size=7)
    assert toys.equal(first.model.state_dict(), second.model.state_dict())


def test_making_a_session_leaves_chance_elsewhere_alone():
    before = torch.get_rng_state()
    session()
    assert torch.equal(torch.get_rng_state(), before)


def test_models_are_the_network_and_its_averages():
    made = session(averages=lambda: EMA([0.5, 0.9], bn="reset"))
    train(made.training, made.batches, 2, [])
    models = made.models()
    assert list(models) == ["plain", "ema_0.5", "ema_0.9"]
    torch.testing.assert_close(models["plain"], made.model.state_dict())
    reset = made.evaluator.reset_batch_norm(models["ema_0.9"])
    assert torch.equal(models["ema_0.9"]["bn.running_mean"], reset["bn.running_mean"])


def test_a_snapshot_brings_back_weights_averages_and_optimizer(tmp_path):
    run, first = Run(tmp_path), session()
    train(first.training, first.batches, 4, [])
    first.averages.update(4)
    first.save_snapshot(run)
    second = session()
    second.load_snapshot(run, 4)
    assert second.training.iteration == 4
    for name, weights in first.models().items():
        assert toys.equal(dict(weights), dict(second.models()[name]))
        assert toys.equal(dict(weights), files.load_weights(run.weights(4, name))[0])
    states = [made.training.optimizer.state_dict()["state"] for made in (first, second)]
    torch.testing.assert_close(*states, rtol=0, atol=0)


def test_frozen_parts_are_not_trained():
    made = session(freeze=["others"], freeze_exceptions=["bn.*"])
    before = made.model.conv.weight.clone()
    train(made.training, made.batches, 2, [])
    assert torch.equal(made.model.conv.weight, before)
    assert not torch.equal(made.model.bn.weight, torch.ones(4))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_trains_to_nearly_the_same_weights():
    runtime = options.Runtime(device="cuda", progress=False, tensorboard=False)
    ours, theirs = session(), Session(toys.recipe(), toys.data(), toys.SEEDS, runtime)
    ours.model.dropout.p = theirs.model.dropout.p = 0.0
    for made in (ours, theirs):
        train(made.training, made.batches, 5, [])
    cpu = {name: tensor.cpu() for name, tensor in theirs.model.state_dict().items()}
    torch.testing.assert_close(ours.model.state_dict(), cpu, rtol=1e-2, atol=1e-3)


def test_a_session_that_is_restarted_is_as_a_new_one():
    made, new = session(), session()
    start = {name: tensor.clone() for name, tensor in new.model.state_dict().items()}
    train(made.training, made.batches, 5, [])
    made.restart(toys.SEEDS, start)
    for each in (made, new):
        assert each.averages is not None
        update = each.averages.update
        callback = Callback(after_every_step, lambda t, update=update: update(t.iteration))
        train(each.training, each.batches, 4, [callback])
    for name, weights in new.models().items():
        assert toys.equal(dict(weights), dict(made.models()[name]))
    torch.testing.assert_close(made.state_dict(), new.state_dict(), rtol=0, atol=0)


def test_a_restart_takes_other_seeds_another_end_and_what_to_save_with_the_weights():
    made = session()
    weights = made.model.state_dict()
    made.restart(StreamSeeds(1, 2, 3, 4), weights, end=20, origin={"child_seed": 2})
    assert (made.end, made.planned_end) == (20, 9)
    assert made.metadata("plain")["child_seed"] == 2
    batches = made.batches
    seeds = (batches.order_seed, batches.augmentation_seed, made.training.dropout_seed)
    assert seeds == (2, 3, 4)


class Bounded:
    """A constraint: no weight is above a bound."""

    def __init__(self, model, bound=0.05):
        self.model, self.bound = model, bound

    def on_gradients(self):
        pass

    def on_weights(self):
        with torch.no_grad():
            for parameter in self.model.parameters():
                parameter.clamp_(max=self.bound)


def largest(model):
    return max(parameter.max().item() for parameter in model.parameters())


def test_a_constraint_holds_from_the_beginning_and_in_averages():
    made = Session(toys.recipe(constraint=Bounded), toys.data(), toys.SEEDS, toys.RUNTIME)
    assert largest(made.model) == pytest.approx(0.05)
    assert isinstance(made.training.constraint, Bounded)
    assert made.training.constraint.model is made.model
    for weights in made.averages.state_dicts().values():
        assert max(weights[n].max() for n, _ in made.model.named_parameters()) <= 0.0501
    train(made.training, made.batches, 3, [])
    assert largest(made.model) <= 0.0501


def test_a_constraint_is_changed_by_the_next_restart():
    made = session()
    weights = made.initial_weights(1)
    assert toys.equal(weights, made.model.state_dict())
    assert not toys.equal(weights, made.initial_weights(2))
    made.set_constraint(lambda model: Bounded(model, 0.01))
    assert made.training.constraint is None
    made.restart(toys.SEEDS, weights)
    assert largest(made.model) == pytest.approx(0.01)
    made.set_constraint(None)
    made.restart(toys.SEEDS, weights)
    assert made.training.constraint is None and toys.equal(weights, made.model.state_dict())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "a warm-up (scheduler.warmup) or hparams.grad_clip_max_norm may"),
        ({"grad_clip_max_norm": 1.0}, "or a lower hparams.grad_clip_max_norm may"),
        ({"scheduler": partial(Constant, warmup="1ep")}, "a longer warm-up (scheduler.warmup) or"),
        ({"scheduler": InverseSqrt}, "a lower optimizer.lr or hparams.grad_clip_max_norm may"),
    ],
)
def test_advice_on_a_loss_that_is_not_finite_fits_the_training(changes, words):
    session = Session(toys.recipe(**changes), toys.data(), toys.SEEDS, toys.RUNTIME)
    with pytest.raises(FloatingPointError, match=re.escape(words)):
        session.training.require_finite(float("nan"), "loss", 4)


@pytest.mark.parametrize("end", [None, 3])
def test_a_schedule_from_elsewhere_needs_no_more_than_its_factors(end):
    class Bare:
        def __init__(self, iterations, iterations_per_epoch): ...
        def factor(self, iteration):
            return 1.0

        def observe(self, val_loss): ...
        def state_dict(self):
            return {}

        def load_state_dict(self, state): ...

    session = Session(toys.recipe(scheduler=Bare), toys.data(), toys.SEEDS, toys.RUNTIME)
    session.check_schedule(end or session.planned_end)
    with pytest.raises(FloatingPointError, match="a lower optimizer.lr or hparams"):
        session.training.require_finite(float("nan"), "loss", 4)


FEATURES = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
EXAMPLE = torch.zeros(1, 4)


def test_a_last_batch_of_one_is_refused_where_batch_norm_needs_two():
    message = r"hparams.batch_size=5: 11 training examples leave a batch of one, which batch norm"
    with pytest.raises(ValueError, match=message):
        training_session.check_last_batch(FEATURES, EXAMPLE, num_examples=11, batch_size=5)


def test_batches_of_one_are_refused_too():
    with pytest.raises(ValueError, match="hparams.batch_size=1: 3 training examples"):
        training_session.check_last_batch(FEATURES, EXAMPLE, num_examples=3, batch_size=1)


@pytest.mark.parametrize(("num_examples", "batch_size"), [(10, 5), (12, 5), (1000, 100)])
def test_other_last_batches_are_not(num_examples, batch_size):
    training_session.check_last_batch(FEATURES, EXAMPLE, num_examples, batch_size)


def test_one_image_has_many_values_and_one_example_without_batch_norm_needs_no_more():
    images = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    training_session.check_last_batch(
        images, torch.zeros(1, 1, 5, 5), num_examples=11, batch_size=5
    )
    training_session.check_last_batch(nn.Linear(4, 3), EXAMPLE, num_examples=11, batch_size=5)


def test_the_check_leaves_the_statistics_as_they_are():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)).eval()
    training_session.check_last_batch(model, torch.ones(1, 1, 5, 5), num_examples=11, batch_size=5)
    assert not model.training and model[1].num_batches_tracked == 0
