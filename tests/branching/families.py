"""Families of toys, and what is asked of them in more than one test."""

import torch

from isthmus.averaging.swa import SWA
from isthmus.branching import averages as branching_averages
from isthmus.branching.averages import AverageEvaluator
from isthmus.branching.family import BranchFamily, FamilyConfig
from isthmus.branching.options import Spawn
from isthmus.branching.plan import SpawnTree
from isthmus.store import files
from isthmus.training.optimizers import adam
from isthmus.training.schedulers import Cosine
from tests import toys

EVERY = "every_1it"
ADAM = {
    "optimizer": lambda parameters: adam(parameters, lr=0.01),
    "averages": lambda: SWA(start="1ep", every="2it"),
    "scheduler": Cosine,
}
RESTLESS = {  # whose validation loss soon stops falling
    "epochs": 50,
    "patience": 2,
    "optimizer": lambda parameters: adam(parameters, lr=0.3),
}


def family(folder, recipe=None, data=None, seeds=toys.SEEDS, **origins):
    """Of toys: three epochs of three iterations each; children are trained one by one."""
    made = FamilyConfig(recipe or toys.recipe(), data or toys.data(), seeds, **origins)
    return BranchFamily(SpawnTree(folder), made, toys.RUNTIME)


def asked(**changes):
    return toys.options(Spawn, **({"spawn_steps": ["0ep"], "child_seeds": [1, 2]} | changes))


def trained(made, snapshots=None, **changes):
    """The plan of a request whose parent and children are there now."""
    plan = made.plan(asked(**changes))
    made.train_parent(plan, snapshots)
    made.train_children(plan)
    return plan


def grown(made, save=False, **changes):
    """A whole study, as `spawn.py` makes it: trained, averaged, evaluated and measured."""
    plan = trained(made, **changes)
    averages = AverageEvaluator(made.tree, plan, made.session.evaluator, save)
    for spawn_step in plan.spawn_steps:
        averages.evaluate(spawn_step)
        branching_averages.measure_distances(made.tree, plan, spawn_step, made.parameters())
    return plan, averages


def weights(run, iteration, model="plain"):
    return files.load_weights(run.weights(iteration, model))[0]


def assert_same_moment(first, second, iteration):
    """Two trainings are at one and the same point, bit for bit."""
    models = first.kept_models(iteration)
    assert models == second.kept_models(iteration) and "plain" in models
    for model in models:
        assert toys.equal(weights(first, iteration, model), weights(second, iteration, model))
    pair = [files.load_state(run.snapshot_state(iteration)) for run in (first, second)]
    torch.testing.assert_close(*pair, rtol=0, atol=0)
