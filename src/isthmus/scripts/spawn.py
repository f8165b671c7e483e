"""Spawn children from a parent's snapshots, average them, and evaluate all. Options: --help."""

import logging
from functools import partial

import hydra
from omegaconf import DictConfig

from isthmus import config, locks, runs
from isthmus.branching import cells, pairs, summary, wanted
from isthmus.branching.legs import Legs
from isthmus.branching.plan import Plan, Request
from isthmus.branching.tree import Tree
from isthmus.paths import CONF
from isthmus.plots import studies

log = logging.getLogger(__name__)


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="spawn")
def main(cfg: DictConfig) -> None:
    with config.job(cfg):
        tree = Tree(config.folder())
        request = Request(**{name: config.plain(cfg[name]) for name in Request.__annotations__})
        legs = legs_of(cfg, tree)
        with locks.shared(tree.folder):
            if is_done(cfg, tree, request, legs):
                log.info("done before: nothing to compute")
                config.compare_threads(cfg, tree.parent.read_result())
            else:
                spawn(cfg, tree, request, legs)
            report(tree)
        for text in summary.of(tree, request, legs):
            log.info(text)
        log.info("results in %s", config.shown(tree.folder))


def legs_of(cfg: DictConfig, tree: Tree) -> Legs | None:
    asked = config.plain(cfg.split_merge)
    if asked["num_legs"] is None:
        return None
    shared = {name: config.plain(cfg[name]) for name in ("child_seeds", "child_length", "bn")}
    return Legs(tree, **asked, **shared)


def is_done(cfg: DictConfig, tree: Tree, request: Request, legs: Legs | None) -> bool:
    parent = tree.parent.read_result()
    if parent is None or not tree.parent.is_complete(config.plain(cfg.snapshots)):
        return False
    plan = Plan(request, parent["iterations_per_epoch"], parent["end"])
    return wanted.nothing(tree, plan, cfg.save_averages) and (legs is None or legs.are_done())


def spawn(cfg: DictConfig, tree: Tree, request: Request, legs: Legs | None) -> None:
    import torch  # takes seconds: not for --help, a refused option or a finished study

    from isthmus.branching import distances, founding
    from isthmus.branching.averages import Averages
    from isthmus.branching.merge import Merging
    from isthmus.pruning import masking

    torch.set_num_threads(config.threads(cfg, tree.parent.read_result()))
    values = config.values(cfg, "Family")
    sparse = partial(masking.of_file, cfg.pretrain.weights)  # also the children of a ticket
    family = founding.family(values, tree, sparse)
    plan = family.plan(request)
    merging = Merging(family, legs) if legs else None
    family.session.check_schedule(max(plan.last, merging.last if merging else 0))
    family.train_parent(plan, config.plain(cfg.snapshots), to_its_end=legs is not None)
    averages = Averages(tree, plan, family.session.evaluator, cfg.save_averages)
    family.train_children(plan)
    for spawn_step in plan.spawn_steps:
        averages.evaluate(spawn_step)
        distances.measure(tree, plan, spawn_step, family.parameters())
    if merging:
        merging.train()
    counts = family.num_steps, averages.num_evaluated
    log.info("%d optimizer steps made, %d networks evaluated", *counts)


def report(tree: Tree) -> None:
    """Put the tables of the whole tree together, and draw what they hold if it is new."""
    with tree.tables_locked():
        averages, distances = cells.in_order(cells.of_tree(tree)), pairs.of_tree(tree)
        runs.write_csv(tree.averages, cells.COLUMNS, averages)
        runs.write_csv(tree.distances, pairs.COLUMNS, distances)
        studies.branches(tree.averages, tree.distances, tree.figures)
