"""Train, prune, rewind and train again, level after level. Options: --help."""

import logging
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import hydra
from omegaconf import DictConfig

from isthmus import machine
from isthmus.config import launch
from isthmus.config.parts import prefix_errors
from isthmus.paths import CONF, display_path
from isthmus.plots import studies
from isthmus.plots.options import INSTABILITY, LEVELS, SPARSITY
from isthmus.pruning import instability, results
from isthmus.pruning.options import Prune
from isthmus.pruning.plan import PruningPlan, PruningTree
from isthmus.store import locks

if TYPE_CHECKING:
    from isthmus.pruning.study import PruningStudy

log = logging.getLogger(__name__)


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="prune")
def main(cfg: DictConfig) -> dict[str, float]:
    with launch.job(cfg) as options:
        tree = PruningTree(launch.job_folder())
        others = results.find_studies(options.compare)
        with locks.hold_shared(tree.folder):
            try:
                if is_done(options, tree):
                    log.info("results are complete; nothing to compute")
                    machine.compare_threads(
                        options.runtime.num_threads, tree.level(0).read_result()
                    )
                else:
                    prune(options, tree)
            finally:  # completed levels are in the table even after an error or a kill
                with tree.lock_tables():
                    results.complete_tables(tree, options.global_seed)
            draw(tree, others)
        lines = options.instability if options.branch == "instability" else None
        log.info(results.summarize(tree, options.branch_folder, lines))
        if lines:
            plan = make_plan(options, tree)
            at_chance = instability.chance_message(options.instability, tree, plan)
            if at_chance:
                log.warning(at_chance)
        log.info("results in %s", display_path(tree.folder))
        return results.main_numbers(tree, options.branch_folder)


def is_done(options: Prune, tree: PruningTree) -> bool:
    if tree.level(0).read_result() is None:
        return False
    plan = make_plan(options, tree)
    if not results.is_complete(tree, plan):
        return False
    has_lines = options.branch == "instability"
    return not has_lines or instability.is_measured(options.instability, tree, plan)


def make_plan(options: Prune, tree: PruningTree) -> PruningPlan:
    """The plan of a tree whose dense level is trained."""
    dense = tree.level(0).read_result()
    assert dense is not None
    return PruningPlan(options, dense["iterations_per_epoch"], dense["end"])


def prune(options: Prune, tree: PruningTree) -> None:
    import torch  # takes seconds: not for --help, a refused option or a finished study

    from isthmus.pruning.study import build_study

    torch.set_num_threads(launch.threads(options.runtime, tree.level(0).read_result()))
    study = build_study(options, tree)
    train_branch = branch_trainer(options, study) if options.branch else None
    for level in study.plan.levels:
        study.train(level)
        if train_branch and level in study.plan.branch_levels:
            train_branch(level)
    log.info("%d optimizer steps made", study.num_steps)


def branch_trainer(options: Prune, study: "PruningStudy") -> Callable[[int], None]:
    """A function that trains the branch of one level."""
    from isthmus.pruning.branches import Branch, Branches, Children
    from isthmus.training.effects import check_variation

    session, lines = study.starts.session, options.instability
    if options.branch != "instability":
        return Branches(study, Branch.from_options(options, session)).train
    with prefix_errors("instability"):
        session.evaluator.check_splits(lines.splits)
        check_variation(session, lines.vary)
    folder, words = str(options.branch_folder), options.branch_text
    children = Children(study, folder, words, lines.seeds, lines.vary)
    return partial(instability.measure, lines, children)


def draw(tree: PruningTree, others: Sequence[Path]) -> None:
    """Draw this study, its other seeds and the compared studies, where tables have changed."""
    with tree.lock_tables():
        files = results.compare_studies(tree, others)
        pair_tables = results.collect_instability(files)
        tables = {os.path.relpath(path, tree.folder): path for path in [*files, *pair_tables]}
        make = partial(draw_tables, tree, files, pair_tables)
        studies.draw_if_changed(tables, tree.figures, make)


def draw_tables(tree: PruningTree, files: Sequence[Path], pair_tables: Sequence[Path]) -> None:
    """Draw the levels of studies, and the lines between children where there are any.

    Args:
        tree: of this study, whose masks are drawn.
        files: `levels.csv` of this study and of the compared ones.
        pair_tables: `instability.csv` of those that have one.
    """
    import pandas  # takes a second

    def join_tables(paths: Sequence[Path]) -> pandas.DataFrame:
        each = [pandas.read_csv(path).assign(study=path.parent.parent.name) for path in paths]
        return pandas.concat(each)

    drawn = {LEVELS: join_tables(files), SPARSITY: pandas.DataFrame(results.collect_sparsity(tree))}
    if pair_tables:
        drawn[INSTABILITY] = join_tables(pair_tables)
    studies.draw_tables("prune", drawn, tree.figures)
