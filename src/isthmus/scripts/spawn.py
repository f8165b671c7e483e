"""Spawn children from a parent's snapshots, average them, and evaluate all. Options: --help."""

import logging

import hydra
from omegaconf import DictConfig

from isthmus import machine
from isthmus.branching import results
from isthmus.branching.options import Spawn
from isthmus.branching.plan import SpawnPlan, SpawnTree
from isthmus.branching.results import Legs
from isthmus.config import launch
from isthmus.paths import CONF, display_path
from isthmus.plots import studies
from isthmus.store import locks

log = logging.getLogger(__name__)


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="spawn")
def main(cfg: DictConfig) -> None:
    with launch.job(cfg) as options:
        tree = SpawnTree(launch.job_folder())
        legs = Legs.from_options(tree, options)
        with locks.hold_shared(tree.folder):
            if is_done(options, tree, legs):
                log.info("results are complete; nothing to compute")
                machine.compare_threads(options.runtime.num_threads, tree.parent.read_result())
            else:
                spawn(options, tree, legs)
            report(tree)
        summary = results.summarize(tree, options, legs)
        if summary:
            log.info(summary)
        log.info("results in %s", display_path(tree.folder))


def is_done(options: Spawn, tree: SpawnTree, legs: Legs | None) -> bool:
    parent = tree.parent.read_result()
    if parent is None or not tree.parent.is_complete(options.snapshots):
        return False
    plan = SpawnPlan.from_options(options, parent["iterations_per_epoch"], parent["end"])
    is_complete = results.is_complete(tree, plan, options.save_averages)
    return is_complete and (legs is None or legs.are_done())


def spawn(options: Spawn, tree: SpawnTree, legs: Legs | None) -> None:
    import torch  # takes seconds: not for --help, a refused option or a finished study

    from isthmus.branching import averages as branching_averages
    from isthmus.branching.averages import AverageEvaluator
    from isthmus.branching.family import build_family
    from isthmus.branching.split_merge import MergeTrainer

    torch.set_num_threads(launch.threads(options.runtime, tree.parent.read_result()))
    family = build_family(options, tree)
    plan = family.plan(options)
    merging = MergeTrainer(family, legs) if legs else None
    family.session.check_schedule(max(plan.last, merging.last if merging else 0))
    family.train_parent(plan, options.snapshots, to_its_end=legs is not None)
    averages = AverageEvaluator(tree, plan, family.session.evaluator, options.save_averages)
    family.train_children(plan)
    for spawn_step in plan.spawn_steps:
        averages.evaluate(spawn_step)
        branching_averages.measure_distances(tree, plan, spawn_step, family.parameters())
    if merging:
        merging.train()
    counts = family.num_steps, averages.num_evaluated
    log.info("%d optimizer steps made, %d networks evaluated", *counts)


def report(tree: SpawnTree) -> None:
    """Write the tables of the whole tree, and their figures where these are out of date."""
    with tree.lock_tables():
        results.complete_tables(tree)
        studies.update_study(tree.folder, "spawn")
