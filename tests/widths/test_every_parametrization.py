"""Every option of the group trains, goes on after an interruption, and is averaged."""

from functools import partial

import pytest
import torch

from isthmus import state_dicts
from isthmus.models.mlp import MLP
from isthmus.models.resnet_cifar import ResNetCifar
from isthmus.training.loop import train
from isthmus.training.optimizers import adam, sgd
from isthmus.training.options import StreamSeeds
from isthmus.training.session import Session
from tests import toys
from tests.widths.networks import GIVEN, GROUP, option

NAMES = sorted(path.stem for path in GROUP.glob("*.yaml") if path.stem != "none")
CHANGES = {"ipllr": {"cap": 0.1}}
DATA = toys.data()


def session(name, model=None, make=None, seeds=toys.SEEDS):
    depth, bias = (1, "input") if name == "mean_field" else (3, True)
    recipe = toys.recipe(
        model=model or partial(MLP, width=8, depth=depth, bias=bias),
        optimizer=make or partial(sgd, lr=0.01, momentum=0.9, weight_decay=1e-3),
        parametrization=lambda: option(name, **CHANGES.get(name, {})),
    )
    return Session(recipe, DATA, seeds, toys.RUNTIME)


@pytest.mark.parametrize("name", NAMES)
def test_a_training_that_is_resumed_is_as_one_that_was_not(name):
    whole, first, second = (session(name) for _ in range(3))
    before = {key: tensor.clone() for key, tensor in whole.model.state_dict().items()}
    train(whole.training, whole.batches, 5, [])
    train(first.training, first.batches, 2, [])
    second.load_state_dict(first.model.state_dict(), first.state_dict())
    train(second.training, second.batches, 5, [])
    assert toys.equal(whole.model.state_dict(), second.model.state_dict())
    assert not toys.equal(whole.model.state_dict(), before)
    assert all(tensor.isfinite().all() for tensor in whole.model.state_dict().values())


@pytest.mark.parametrize("name", NAMES)
def test_the_mean_of_two_networks_is_evaluated_as_any_other(name):
    made = [session(name, seeds=StreamSeeds(seed, seed, seed, seed)) for seed in (1, 2)]
    weights = [each.model.state_dict() for each in made]
    mean = state_dicts.mean(weights, [1.0, 1.0])
    inputs = next(iter(made[0].evaluator.batches("test")))[0]
    expected = made[0].evaluator.evaluate({"mean": mean}, "test").loss
    made[0].model.load_state_dict(mean)
    with torch.no_grad():
        outputs = made[0].model(inputs)
    labels = DATA.test.labels
    torch.testing.assert_close(
        torch.nn.functional.cross_entropy(outputs, labels).double(), expected[0]
    )


@pytest.mark.parametrize("name", GIVEN)
@pytest.mark.parametrize("make", [partial(sgd, lr=1e-3), partial(adam, lr=1e-3)])
def test_residual_networks_train(name, make):
    made = session(name, partial(ResNetCifar, depth=8, width=4), make)
    train(made.training, made.batches, 3, [])
    made.training.check_losses()


def test_all_options_are_looked_at():
    assert set(GIVEN) < set(NAMES) and {"ipllr", "ipllr_bias", "mean_field"} < set(NAMES)
