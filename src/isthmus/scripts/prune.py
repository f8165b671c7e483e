"""Train, prune, rewind and train again, level after level. Options: --help."""

import logging
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from omegaconf import DictConfig

from isthmus import (
    checks,
    config,
    locks,
    lottery,
    naming,
    pretraining,
    runs,
)
from isthmus.connectivity import records
from isthmus.connectivity import summary as barriers_summary
from isthmus.paths import CONF
from isthmus.plots.studies import if_changed
from isthmus.pruning import instability, rows, studies, summary, wanted
from isthmus.pruning.plan import Plan, Request
from isthmus.pruning.tree import Tree

if TYPE_CHECKING:
    from isthmus.pruning.branches import Branch
    from isthmus.pruning.children import Children
    from isthmus.pruning.study import Study

log = logging.getLogger(__name__)
Values = dict[str, Any]


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="prune")
def main(cfg: DictConfig) -> None:
    with config.job(cfg):
        tree, request = Tree(config.folder()), request_of(cfg)
        others = studies.find(config.plain(cfg.compare))
        with locks.shared(tree.folder):
            try:
                if is_done(cfg, tree, request):
                    log.info("done before: nothing to compute")
                    config.compare_threads(cfg, tree.level(0).read_result())
                else:
                    prune(cfg, tree, request)
            finally:  # a level that cannot be made, or a kill, takes nothing from those before
                tabulate(cfg, tree)
            draw(tree, others)
        log.info(summary.of(tree, request.branch))
        if cfg.branch == "instability":
            asked = config.plain(cfg.instability)
            lines = list(records.between(asked["seeds"]))
            log.info(instability.summary(tree, asked, line_request(asked).grid.cells, lines))
            at_chance = children_at_chance(asked, tree, plan_of(tree, request))
            if at_chance:
                log.warning(at_chance)
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
        branch_levels=lottery.branch_levels(values),
    )


def is_done(cfg: DictConfig, tree: Tree, request: Request) -> bool:
    if tree.level(0).read_result() is None:
        return False
    plan = plan_of(tree, request)
    if not wanted.nothing(tree, plan):
        return False
    return cfg.branch != "instability" or are_measured(config.plain(cfg.instability), tree, plan)


def plan_of(tree: Tree, request: Request) -> Plan:
    """What is to be done in a tree whose dense level is trained."""
    dense = tree.level(0).read_result()
    assert dense is not None
    return Plan(request, dense["iterations_per_epoch"], dense["end"])


def prune(cfg: DictConfig, tree: Tree, request: Request) -> None:
    import torch  # takes seconds: not for --help, a refused option or a finished study

    torch.set_num_threads(config.threads(cfg, tree.level(0).read_result()))
    study = study_of(cfg, tree, request)
    train_branch = branching(cfg, study, request.branch) if request.branch is not None else None
    for level in study.plan.levels:
        study.train(level)
        if train_branch and level in study.plan.branch_levels:
            train_branch(level)
    log.info("%d optimizer steps made", study.num_steps)


def study_of(cfg: DictConfig, tree: Tree, request: Request) -> "Study":
    from isthmus.pruning import masking
    from isthmus.pruning.starts import Starts
    from isthmus.pruning.study import Rules, Study
    from isthmus.training import pretrained
    from isthmus.training.recipe import Recipe, Runtime, Seeds
    from isthmus.training.session import Session

    values = config.values(cfg, "Prune")
    own, strategy = config.seeds(cfg), config.part("pruning", lottery.strategy(values))()
    lottery.check_rewind(values, strategy)
    recipe, runtime = Recipe(**config.recipe(config.training(cfg))), Runtime(**config.runtime(cfg))
    recipe.check()
    data = config.load(config.plain(cfg.dataset), own.pop("label_noise"))
    data.require_accuracy("dataset")
    seeds = Seeds(**own)
    session = Session(recipe, data, seeds, runtime)
    plan = Plan(request, session.iterations_per_epoch, session.planned_end)
    weights = pretrained.origin(tree.pretrain, values, runtime, data)
    starts = Starts(session, tree, plan, seeds, weights)
    rules = Rules(strategy, cfg.one_shot, cfg.global_seed, cfg.retrain_lr)
    ticket = masking.mask_of_file(cfg.pretrain.weights)
    return Study(tree, plan, starts, rules, cfg.save_predictions, ticket)


def branching(cfg: DictConfig, study: "Study", folder: str) -> Callable[[int], None]:
    """What makes the branch of one level."""
    from isthmus.pruning.branches import Branches
    from isthmus.pruning.children import Children
    from isthmus.training.variation import check_variation

    if cfg.branch != "instability":
        return Branches(study, branch_of(cfg, study, folder)).train
    asked = config.plain(cfg.instability)
    with checks.named("instability"):
        study.starts.session.evaluator.check_splits(asked["splits"])
        check_variation(study.starts.session, asked["vary"])
    children = Children(study, folder, words_of(cfg), asked["seeds"], asked["vary"])
    return partial(measure_instability, asked, children)


def words_of(cfg: DictConfig) -> str:
    """The branch and its options, as one would type them."""
    words = naming.section_words(config.values(cfg, "Prune"), "Prune", cfg.branch)
    return f"{cfg.branch} {words}".rstrip()


def measure_instability(asked: Values, children: "Children", level: int) -> None:
    """Train the children of one level, and measure the lines between them."""
    from isthmus.connectivity import kept_lines

    study, files = children.study, children.train(level)
    run, pair = study.tree.branch(level, children.folder), pair_of(study.plan)
    lines = [
        (pair, name, [files[start], files[end]])
        for name, (start, end) in records.between(asked["seeds"]).items()
    ]
    kept_lines.measure(run, study.starts.session.evaluator, line_request(asked), lines)
    children.finish(level)


def are_measured(asked: Values, tree: Tree, plan: Plan) -> bool:
    lines, folders = lines_of(asked, plan), branch_folders(tree, plan)
    return all(records.Records(f).has(lines, line_request(asked)) for f in folders)


def children_at_chance(asked: Values, tree: Tree, plan: Plan) -> str | None:
    """One line that names the children that know no more than a uniform guess, if any."""
    folders = branch_folders(tree, plan)
    return barriers_summary.at_chance(folders, lines_of(asked, plan), line_request(asked))


def lines_of(asked: Values, plan: Plan) -> list[records.Named]:
    return [(pair_of(plan), name) for name in records.between(asked["seeds"])]


def branch_folders(tree: Tree, plan: Plan) -> list[Path]:
    return [tree.branch(level, str(plan.request.branch)).folder for level in plan.branch_levels]


def line_request(asked: Values) -> records.Request:
    return records.Request(alphas=asked["alphas"], bn=asked["bn"], splits=asked["splits"])


def pair_of(plan: Plan) -> records.Pair:
    """What children share and what they do not, as planned."""
    return records.Pair(plan.rewind, plan.end - plan.rewind, plan.iterations_per_epoch)


def branch_of(cfg: DictConfig, study: "Study", folder: str) -> "Branch":
    from isthmus.pruning.branches import Branch
    from isthmus.training import pretrained
    from isthmus.training.recipe import Recipe
    from isthmus.training.session import Session

    values, main, make = config.values(cfg, "Prune"), study.starts, None
    if cfg.branch == "retrain":
        own = pretraining.merged(values, "retrain")
        recipe = Recipe(**config.recipe(own, "retrain."))
        recipe.check()
        data = config.load(own["dataset"], config.seeds(cfg)["label_noise"])
        pretrained.check_inputs("retrain", data, main.session.data.input_shape)
        make = partial(Session, recipe, data, main.seeds, main.session.runtime)
    return Branch(cfg.branch, folder, words_of(cfg), values[cfg.branch], make)


def tabulate(cfg: DictConfig, tree: Tree) -> None:
    """Put the table of the whole tree together."""
    if tree.levels():
        with tree.tables_locked():
            runs.write_csv(tree.table, rows.LEVELS, rows.of_tree(tree, cfg.global_seed))
            pairs = list(instability.of_tree(tree, cfg.global_seed))
            if pairs:
                runs.write_csv(tree.instability_table, instability.COLUMNS, pairs)


def draw(tree: Tree, others: Sequence[Path]) -> None:
    """Draw what this study, its other seeds and the studies beside it hold, if that is new."""
    with tree.tables_locked():
        files = studies.beside(tree, others)
        of_pairs = studies.instabilities(files)
        tables = {os.path.relpath(path, tree.folder): path for path in [*files, *of_pairs]}
        if_changed(tables, tree.figures, partial(draw_tables, tree, files, of_pairs))


def draw_tables(tree: Tree, files: Sequence[Path], of_pairs: Sequence[Path]) -> None:
    """Draw the levels of studies, and the lines between children where there are any.

    Args:
        tree: of this study, whose masks are drawn.
        files: `levels.csv` of this study and of those beside it.
        of_pairs: `instability.csv` of those that have one.
    """
    import pandas  # takes a second, and what it is needed for another

    from isthmus.plots import levels

    found, pairs = (
        [pandas.read_csv(path).assign(study=path.parent.parent.name) for path in paths]
        for paths in (files, of_pairs)
    )
    kept = pandas.DataFrame(rows.of_masks(tree))
    levels.save(pandas.concat(found), kept, tree.figures, pandas.concat(pairs) if pairs else None)
