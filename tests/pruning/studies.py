"""Studies of toys, and what is asked of them in more than one test."""

import torch

from isthmus.pruning.options import Prune
from isthmus.pruning.plan import PruningPlan, PruningTree, mask_file
from isthmus.pruning.rewinding import StartingPoints
from isthmus.pruning.strategies import SparseGlobal
from isthmus.pruning.study import PruningStudy
from isthmus.store import files
from isthmus.training import masks, options
from isthmus.training.session import Session
from tests import toys

OFTEN = options.Runtime(device="cpu", progress=False, tensorboard=False, save_every=0.0)


def study(
    folder,
    recipe=None,
    strategy=None,
    weights=None,
    one_shot=None,
    runtime=None,
    retrain_lr=None,
    **asked,
):
    """Of toys: three epochs of three iterations each; nothing is trained yet."""
    session = Session(recipe or toys.recipe(), toys.data(), toys.SEEDS, runtime or toys.RUNTIME)
    asked = {
        "levels": 2,
        "rewind": "weights",
        "one_shot": one_shot,
        "retrain_lr": retrain_lr,
    } | asked
    options = toys.options(Prune, **asked)
    plan = PruningPlan(options, session.iterations_per_epoch, session.planned_end)
    tree = PruningTree(folder)
    starts = StartingPoints(session, tree, plan, toys.SEEDS, weights)
    return PruningStudy(tree, plan, starts, strategy or SparseGlobal(0.4, ignore=[]))


def grown(made):
    """A study whose levels are trained."""
    for level in made.plan.levels:
        made.train(level)
    return made


def weights(run, iteration=9, model="plain"):
    return files.load_weights(run.weights(iteration, model))[0]


def mask(run):
    return masks.load_mask(mask_file(run))


def assert_sparse(state, kept):
    """0 wherever there is no place, and not everywhere else."""
    for name, part in kept.items():
        assert not state[name][~part].any(), name
        assert state[name][part].any(), name


def assert_same(first, second, moment=9):
    """Two trainings ended with the same networks, bit for bit."""
    models = [run.kept_models(moment) for run in (first, second)]
    assert models[0] == models[1] and "plain" in models[0]
    for model in models[0]:
        assert toys.equal(weights(first, moment, model), weights(second, moment, model))


def some_mask(model, share=0.6):
    """A mask of the layers of a toy, drawn at random."""
    generator = torch.Generator().manual_seed(3)
    return {
        name: torch.rand(parameter.shape, generator=generator) < share
        for name, parameter in model.named_parameters()
        if parameter.ndim > 1
    }
