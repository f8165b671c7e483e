"""A family made from the values of a configuration."""

import logging
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import nn

from isthmus import config, cores
from isthmus.branching.family import Family, Origins
from isthmus.branching.tree import Tree
from isthmus.training import pretrained
from isthmus.training.loop import Constraint
from isthmus.training.recipe import Recipe, Runtime, Seeds
from isthmus.training.variation import check_variation
from isthmus.workers import Workers

log = logging.getLogger(__name__)

MakeConstraint: TypeAlias = Callable[[nn.Module], Constraint]


def family(
    values: dict[str, Any],
    tree: Tree,
    constraint: Callable[[], MakeConstraint | None] | None = None,
) -> Family:
    """The parent and the children that lie, or will lie, in a tree.

    With `runtime.num_jobs` above 1, its children are trained in processes of their own, each with
    as many threads as this one, so that the numbers are the same.

    Args:
        values: of the schema `Family`, as plain Python.
        tree: where they lie.
        constraint: returns what keeps all of them where they have to be, see `Recipe`; pickled
            for other processes.

    Raises:
        ValueError: a part refuses its values, the pretraining has inputs of another shape, there
            is no such device, or the seeds of children would change nothing.
        FileNotFoundError: the weights to begin with, or the data, are not there.
    """
    made, num_jobs = _make(values, tree, constraint), values["runtime"]["num_jobs"]
    if values["vary"]:
        check_variation(made.session, values["vary"])
    _say_threads(made.session.device, values["runtime"])
    if num_jobs > 1:
        make = partial(_make_in_worker, values, tree, constraint, torch.get_num_threads())
        made.workers = Workers(num_jobs, make)
    return made


def _say_threads(device: torch.device, runtime: dict[str, Any]) -> None:
    """Say how more cores can be used, if a study that was not told leaves some alone."""
    threads, num_cores = torch.get_num_threads(), cores.share(1)
    untold = runtime["num_threads"] is None and runtime["num_jobs"] == 1
    if untold and device.type == "cpu" and threads < num_cores:
        log.info(
            "%d of %d cores in use: runtime.num_jobs=%d trains so many children side by side, with "
            "the same numbers; for large networks, runtime.num_threads=%d",
            *(threads, num_cores, num_cores, num_cores),
        )


def _make_in_worker(
    values: dict[str, Any],
    tree: Tree,
    constraint: Callable[[], MakeConstraint | None] | None,
    num_threads: int,
) -> Family:
    torch.set_num_threads(num_threads)
    runtime = values["runtime"] | {"progress": False}  # several bars at a time cannot be read
    return _make(values | {"runtime": runtime}, tree, constraint)


def _make(
    values: dict[str, Any],
    tree: Tree,
    constraint: Callable[[], MakeConstraint | None] | None,
) -> Family:
    seeds, training = config.seeds(values), config.training(values)
    recipe = Recipe(**config.recipe(training), constraint=constraint() if constraint else None)
    recipe.check()
    data = config.load(training["dataset"], seeds.pop("label_noise"))
    data.require_accuracy("dataset")
    runtime = Runtime(**config.runtime(values))
    weights = pretrained.origin(tree.pretrain, values, runtime, data)
    origins = Origins(recipe, data, Seeds(**seeds), values["vary"], weights)
    return Family(tree, origins, runtime, values["save_predictions"])
