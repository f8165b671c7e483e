"""Spawn children from a parent's snapshots, average them, and evaluate all. Options: --help."""

import logging

import hydra
from omegaconf import DictConfig

from isthmus.branching import results
from isthmus.branching.plan import SpawnPlan, SpawnRequest, SpawnTree
from isthmus.branching.results import Legs
from isthmus.config import launch
from isthmus.paths import CONF
from isthmus.plots import studies
from isthmus.store import locks

log = logging.getLogger(__name__)


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="spawn")
def main(cfg: DictConfig) -> None:
    with launch.job(cfg):
        tree = SpawnTree(launch.job_folder())
        request = SpawnRequest(
            **{name: launch.to_container(cfg[name]) for name in SpawnRequest.__annotations__}
        )
        legs = make_legs(cfg, tree)
        with locks.hold_shared(tree.folder):
            if is_done(cfg, tree, request, legs):
                log.info("results are complete; nothing to compute")
                launch.compare_threads(cfg, tree.parent.read_result())
            else:
                spawn(cfg, tree, request, legs)
            report(tree)
        summary = results.summarize(tree, request, legs)
        if summary:
            log.info(summary)
        log.info("results in %s", launch.display_path(tree.folder))


def make_legs(cfg: DictConfig, tree: SpawnTree) -> Legs | None:
    options = launch.to_container(cfg.split_merge)
    if options["num_legs"] is None:
        return None
    shared = {
        name: launch.to_container(cfg[name]) for name in ("child_seeds", "child_length", "bn")
    }
    return Legs(tree, **options, **shared)


def is_done(cfg: DictConfig, tree: SpawnTree, request: SpawnRequest, legs: Legs | None) -> bool:
    parent = tree.parent.read_result()
    if parent is None or not tree.parent.is_complete(launch.to_container(cfg.snapshots)):
        return False
    plan = SpawnPlan(request, parent["iterations_per_epoch"], parent["end"])
    return results.is_complete(tree, plan, cfg.save_averages) and (legs is None or legs.are_done())


def spawn(cfg: DictConfig, tree: SpawnTree, request: SpawnRequest, legs: Legs | None) -> None:
    import torch  # takes seconds: not for --help, a refused option or a finished study

    from isthmus.branching import averages as branching_averages
    from isthmus.branching import family as branching_family
    from isthmus.branching.averages import AverageEvaluator
    from isthmus.branching.split_merge import MergeTrainer

    torch.set_num_threads(launch.threads(cfg, tree.parent.read_result()))
    values = launch.option_values(cfg, "Family")
    family = branching_family.build_family(values, tree)
    plan = family.plan(request)
    merging = MergeTrainer(family, legs) if legs else None
    family.session.check_schedule(max(plan.last, merging.last if merging else 0))
    family.train_parent(plan, launch.to_container(cfg.snapshots), to_its_end=legs is not None)
    averages = AverageEvaluator(tree, plan, family.session.evaluator, cfg.save_averages)
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
        studies.update_branches(tree.averages, tree.distances, tree.figures)
