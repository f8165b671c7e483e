"""Train, prune, rewind and train again, level after level. Options: --help."""

import json
import logging
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import hydra
from omegaconf import DictConfig

from src import config, fingerprints, locks, lottery, naming, pretraining, runs
from src.pruning import rows, studies, summary, wanted
from src.pruning.plan import Plan, Request
from src.pruning.tree import Tree

if TYPE_CHECKING:
    from src.pruning.branches import Branch
    from src.pruning.study import Study

log = logging.getLogger(__name__)


@hydra.main(version_base="1.3", config_path="conf", config_name="prune")
def main(cfg: DictConfig) -> None:
    with config.job(cfg):
        tree, request = Tree(config.folder()), request_of(cfg)
        others = studies.find(config.plain(cfg.compare))
        with locks.shared(tree.folder):
            if is_done(tree, request):
                log.info("done before: nothing to compute")
            else:
                try:
                    prune(cfg, tree, request)
                finally:  # a level that cannot be made takes nothing from those before
                    tabulate(cfg, tree)
            draw(tree, others)
        log.info(summary.of(tree, request.branch))
        log.info("results in %s", config.shown(tree.folder))


def request_of(cfg: DictConfig) -> Request:
    values = config.values(cfg, "Prune")
    digits = naming.section_name(values, "Prune", cfg.branch) if cfg.branch else ""
    return Request(
        levels=lottery.num_levels(values),
        rewind=lottery.rewind(values),
        rewind_step=cfg.rewind_step,
        start=pretraining.length(values),
        snapshots=config.plain(cfg.snapshots),
        branch=f"{cfg.branch}_{digits}" if cfg.branch else None,
        branch_levels=config.plain(cfg.branch_levels),
    )


def is_done(tree: Tree, request: Request) -> bool:
    dense = tree.level(0).read_result()
    if dense is None:
        return False
    plan = Plan(request, dense["iterations_per_epoch"], dense["end"])
    return wanted.nothing(tree, plan)


def prune(cfg: DictConfig, tree: Tree, request: Request) -> None:
    import torch  # takes seconds: not for --help, a refused option or a finished study

    from src.pruning.branches import Branches

    torch.set_num_threads(config.threads(cfg))
    study = study_of(cfg, tree, request)
    branches = None
    if request.branch is not None:
        branches = Branches(study, branch_of(cfg, study, request.branch))
    for level in study.plan.levels:
        study.train(level)
        if branches and level in study.plan.branch_levels:
            branches.train(level)
    log.info("%d optimizer steps made", study.num_steps)


def study_of(cfg: DictConfig, tree: Tree, request: Request) -> "Study":
    from src.pruning.starts import Starts
    from src.pruning.study import Rules, Study
    from src.training import pretrained
    from src.training.recipe import Recipe, Runtime, Seeds
    from src.training.session import Session

    own, strategy = config.seeds(cfg), config.part("pruning", config.plain(cfg.pruning))()
    recipe, runtime = Recipe(**config.recipe(config.training(cfg))), Runtime(**config.runtime(cfg))
    recipe.check()
    data = config.load(config.plain(cfg.dataset), own.pop("label_noise"))
    seeds = Seeds(**own)
    session = Session(recipe, data, seeds, runtime)
    plan = Plan(request, session.iterations_per_epoch, session.planned_end)
    values = config.values(cfg, "Prune")
    weights = pretrained.origin(tree.pretrain, values, runtime, data.input_shape)
    starts = Starts(session, tree, plan, seeds, weights)
    rules = Rules(strategy, cfg.one_shot, cfg.global_seed)
    return Study(tree, plan, starts, rules, cfg.save_predictions)


def branch_of(cfg: DictConfig, study: "Study", folder: str) -> "Branch":
    from src.pruning.branches import Branch
    from src.training import pretrained
    from src.training.recipe import Recipe
    from src.training.session import Session

    values, main, make = config.values(cfg, "Prune"), study.starts, None
    if cfg.branch == "retrain":
        own = pretraining.merged(values, "retrain")
        recipe = Recipe(**config.recipe(own))
        recipe.check()
        data = config.load(own["dataset"], config.seeds(cfg)["label_noise"])
        pretrained.check_inputs("retrain", data, main.session.data.input_shape)
        make = partial(Session, recipe, data, main.seeds, main.session.runtime)
    words = f"{cfg.branch} {naming.section_words(values, 'Prune', cfg.branch)}".rstrip()
    return Branch(cfg.branch, folder, words, values[cfg.branch], make)


def tabulate(cfg: DictConfig, tree: Tree) -> None:
    """Put the table of the whole tree together."""
    if tree.levels():
        with tree.tables_locked():
            runs.write_csv(tree.table, rows.LEVELS, rows.of_tree(tree, cfg.global_seed))


def draw(tree: Tree, others: Sequence[Path]) -> None:
    """Draw what this study, its other seeds and the studies beside it hold, if that is new."""
    with tree.tables_locked():
        files, stamp = studies.beside(tree, others), tree.figures / "drawn_from.json"
        tables = {
            os.path.relpath(path, tree.folder): fingerprints.file(str(path)) for path in files
        }
        if stamp.exists() and json.loads(stamp.read_text()) == tables:
            return
        import pandas  # takes a second, and what it is needed for another

        from src.plots import levels

        found = [pandas.read_csv(path).assign(study=path.parent.parent.name) for path in files]
        kept = rows.of_masks(tree)
        levels.save(pandas.concat(found), pandas.DataFrame(kept), tree.figures)
        runs.write_json(stamp, tables)


if __name__ == "__main__":
    sys.argv = config.arguments(sys.argv)
    main()
