"""Train, prune, rewind and train again, level after level. Options: --help."""

import logging
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import hydra
from omegaconf import DictConfig

from isthmus.config import launch, naming, validation
from isthmus.paths import CONF
from isthmus.plots.studies import draw_if_changed
from isthmus.pruning import instability, options, results
from isthmus.pruning.plan import PruneRequest, PruningPlan, PruningTree
from isthmus.store import locks

if TYPE_CHECKING:
    from isthmus.pruning.branches import Branch
    from isthmus.pruning.study import PruningStudy

log = logging.getLogger(__name__)


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="prune")
def main(cfg: DictConfig) -> None:
    with launch.job(cfg):
        tree, request = PruningTree(launch.job_folder()), make_request(cfg)
        others = results.find_studies(launch.to_container(cfg.compare))
        with locks.hold_shared(tree.folder):
            try:
                if is_done(cfg, tree, request):
                    log.info("results are complete; nothing to compute")
                    launch.compare_threads(cfg, tree.level(0).read_result())
                else:
                    prune(cfg, tree, request)
            finally:  # completed levels are in the table even after an error or a kill
                with tree.lock_tables():
                    results.complete_tables(tree, cfg.global_seed)
            draw(tree, others)
        values = launch.to_container(cfg.instability)
        is_instability = cfg.branch == "instability"
        children = instability.summary_arguments(values) if is_instability else None
        log.info(results.summarize(tree, request.branch, children))
        if is_instability:
            at_chance = instability.chance_message(values, tree, make_plan(tree, request))
            if at_chance:
                log.warning(at_chance)
        log.info("results in %s", launch.display_path(tree.folder))


def make_request(cfg: DictConfig) -> PruneRequest:
    values = launch.option_values(cfg, "Prune")
    digits = naming.section_name(values, "Prune", cfg.branch) if cfg.branch else ""
    return PruneRequest(
        levels=options.num_levels(values),
        rewind=options.resolve_rewind(values),
        rewind_step=cfg.rewind_step,
        start=validation.pretraining_length(values),
        snapshots=launch.to_container(cfg.snapshots),
        branch=f"{cfg.branch}_{digits}" if cfg.branch else None,
        branch_levels=options.branch_levels(values),
    )


def is_done(cfg: DictConfig, tree: PruningTree, request: PruneRequest) -> bool:
    if tree.level(0).read_result() is None:
        return False
    plan = make_plan(tree, request)
    if not results.is_complete(tree, plan):
        return False
    values = launch.to_container(cfg.instability)
    return cfg.branch != "instability" or instability.is_measured(values, tree, plan)


def make_plan(tree: PruningTree, request: PruneRequest) -> PruningPlan:
    """The plan of a tree whose dense level is trained."""
    dense = tree.level(0).read_result()
    assert dense is not None
    return PruningPlan(request, dense["iterations_per_epoch"], dense["end"])


def prune(cfg: DictConfig, tree: PruningTree, request: PruneRequest) -> None:
    import torch  # takes seconds: not for --help, a refused option or a finished study

    torch.set_num_threads(launch.threads(cfg, tree.level(0).read_result()))
    study = make_study(cfg, tree, request)
    train_branch = (
        branch_trainer(cfg, study, request.branch) if request.branch is not None else None
    )
    for level in study.plan.levels:
        study.train(level)
        if train_branch and level in study.plan.branch_levels:
            train_branch(level)
    log.info("%d optimizer steps made", study.num_steps)


def make_study(cfg: DictConfig, tree: PruningTree, request: PruneRequest) -> "PruningStudy":
    from isthmus.pruning.rewinding import StartingPoints
    from isthmus.pruning.study import PruningRules, PruningStudy
    from isthmus.training import masked_training, pretraining
    from isthmus.training.options import Runtime
    from isthmus.training.recipe import Recipe, StreamSeeds
    from isthmus.training.session import Session

    values = launch.option_values(cfg, "Prune")
    all_seeds, strategy = (
        launch.seeds(cfg),
        launch.build_part("pruning", options.strategy_part(values))(),
    )
    options.check_rewind(values, strategy)
    recipe, runtime = Recipe(**launch.recipe(launch.training(cfg))), Runtime(**launch.runtime(cfg))
    recipe.check()
    data = launch.load_data(launch.to_container(cfg.dataset), all_seeds.pop("label_noise"))
    data.require_accuracy("dataset")
    seeds = StreamSeeds(**all_seeds)
    session = Session(recipe, data, seeds, runtime)
    plan = PruningPlan(request, session.iterations_per_epoch, session.planned_end)
    weights = pretraining.build_origin(tree.pretrain, values, runtime, data)
    starts = StartingPoints(session, tree, plan, seeds, weights)
    rules = PruningRules(strategy, cfg.one_shot, cfg.global_seed, cfg.retrain_lr)
    ticket = masked_training.read_mask(cfg.pretrain.weights)
    return PruningStudy(tree, plan, starts, rules, cfg.save_predictions, ticket)


def branch_trainer(cfg: DictConfig, study: "PruningStudy", folder: str) -> Callable[[int], None]:
    """A function that trains the branch of one level."""
    from isthmus.pruning.branches import Branches, Children
    from isthmus.training.variation import check_variation

    if cfg.branch != "instability":
        return Branches(study, make_branch(cfg, study, folder)).train
    values = launch.to_container(cfg.instability)
    with validation.prefix_errors("instability"):
        study.starts.session.evaluator.check_splits(values["splits"])
        check_variation(study.starts.session, values["vary"])
    children = Children(study, folder, branch_text(cfg), values["seeds"], values["vary"])
    return partial(instability.measure, values, children)


def branch_text(cfg: DictConfig) -> str:
    """The branch and its options, as one would type them."""
    words = naming.section_arguments(launch.option_values(cfg, "Prune"), "Prune", cfg.branch)
    return f"{cfg.branch} {words}".rstrip()


def make_branch(cfg: DictConfig, study: "PruningStudy", folder: str) -> "Branch":
    from isthmus.pruning.branches import Branch
    from isthmus.training import pretraining
    from isthmus.training.recipe import Recipe
    from isthmus.training.session import Session

    values, main, make = launch.option_values(cfg, "Prune"), study.starts, None
    if cfg.branch == "retrain":
        merged = validation.merge_section(values, "retrain")
        recipe = Recipe(**launch.recipe(merged, "retrain."))
        recipe.check()
        data = launch.load_data(merged["dataset"], launch.seeds(cfg)["label_noise"])
        pretraining.check_inputs("retrain", data, main.session.data.input_shape)
        make = partial(Session, recipe, data, main.seeds, main.session.runtime)
    return Branch(cfg.branch, folder, branch_text(cfg), values[cfg.branch], make)


def draw(tree: PruningTree, others: Sequence[Path]) -> None:
    """Draw this study, its other seeds and the compared studies, where tables have changed."""
    with tree.lock_tables():
        files = results.compare_studies(tree, others)
        pair_tables = results.collect_instability(files)
        tables = {os.path.relpath(path, tree.folder): path for path in [*files, *pair_tables]}
        draw_if_changed(tables, tree.figures, partial(draw_tables, tree, files, pair_tables))


def draw_tables(tree: PruningTree, files: Sequence[Path], pair_tables: Sequence[Path]) -> None:
    """Draw the levels of studies, and the lines between children where there are any.

    Args:
        tree: of this study, whose masks are drawn.
        files: `levels.csv` of this study and of the compared ones.
        pair_tables: `instability.csv` of those that have one.
    """
    import pandas  # takes a second, and the module below another

    from isthmus.plots import pruning

    levels, pairs = (
        [pandas.read_csv(path).assign(study=path.parent.parent.name) for path in paths]
        for paths in (files, pair_tables)
    )
    kept = pandas.DataFrame(results.collect_sparsity(tree))
    pruning.save_levels(
        pandas.concat(levels), kept, tree.figures, pandas.concat(pairs) if pairs else None
    )
