"""Walk in a straight line from one network to another, or over a plane. Options: --help."""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from omegaconf import DictConfig

from isthmus import config, interpolation, job_folders, locks, naming, runs
from isthmus.averaging import ingredients
from isthmus.branching.tree import Tree
from isthmus.connectivity import planes, records, summary
from isthmus.connectivity.records import Pair, Records, Request
from isthmus.paths import CONF
from isthmus.plots import studies

if TYPE_CHECKING:
    from isthmus.training.evaluator import Evaluator

log = logging.getLogger(__name__)
Values = dict[str, Any]
Threads = Callable[..., int]  # `config.threads` of the job, of what is there already


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="interpolate")
def main(cfg: DictConfig) -> None:
    does = {
        "InterpolateBranches": between_branches,
        "InterpolateLine": between_saved,
        "InterpolatePlane": over_plane,
    }
    with config.job(cfg):
        run, mode, threads = (
            runs.Run(config.folder()),
            config.mode(cfg),
            partial(config.threads, cfg),
        )
        was_missing = does[mode](config.values(cfg, mode), run, threads)
        if not was_missing:
            log.info("done before: nothing to compute")
        if not config.is_in_sweep():  # which draws when it ends
            with run.locked():
                studies.connectivity(run.folder)
        log.info("results in %s", config.shown(run.folder))


def between_branches(own: Values, run: runs.Run, threads: Threads) -> bool:
    """Lines from a main branch to those that left it k2 before; whether any was missing."""
    name = f"spawn_{naming.run_name(own, 'Spawn')}"  # the store of legs, common with spawn.py
    tree = Tree(Path(own["output_dir"]).absolute() / name / f"seed_{own['global_seed']}")
    seeds, request, store = interpolation.child_seeds(own), Request.of(own), Records(run.folder)
    main_branch, pairs = tree.parent.read_result(), list[Pair]()
    if main_branch is not None:
        pairs = pairs_of(own, main_branch["iterations_per_epoch"], main_branch["end"])
    lines = [(pair, seed) for pair in pairs for seed in seeds]
    missing = not lines or not store.has(lines, request)
    missing = missing or not tree.parent.is_complete(own["snapshots"])
    if missing:
        with job_folders.made(tree.folder), locks.shared(tree.folder):
            pairs = measure_branches(own, run, tree, threads)
    report(store, [(pair, seed) for pair in pairs for seed in seeds], request)
    return missing


def measure_branches(own: Values, run: runs.Run, tree: Tree, threads: Threads) -> list[Pair]:
    import torch  # takes seconds: not for --help, a refused option or a finished study

    from isthmus.branching import departures, founding
    from isthmus.connectivity import kept_lines
    from isthmus.pruning import masking

    torch.set_num_threads(threads(tree.parent.read_result()))
    seeds, request = interpolation.child_seeds(own), Request.of(own)
    sparse = partial(masking.of_file, own["pretrain"]["weights"])  # also the branches of a ticket
    family = founding.family(own, tree, sparse)
    session = family.session
    session.evaluator.check_splits(request.splits)
    session.check_schedule(session.planned_end)
    pairs = pairs_of(own, session.iterations_per_epoch, session.planned_end)
    departures.train(family, [(pair.k1, pair.k2) for pair in pairs], seeds, own["snapshots"])
    log.info("%d optimizer steps made", family.num_steps)
    lines = [
        (pair, seed, [tree.parent.weights(pair.total), branch.weights(pair.total)])
        for pair in pairs
        for seed in seeds
        for branch in [tree.child(pair.text(pair.k1), seed)]
    ]
    kept_lines.measure(run, session.evaluator, request, lines)
    return pairs


def pairs_of(own: Values, iterations_per_epoch: int, end: int) -> list[Pair]:
    k1, k2 = (interpolation.listed(own[name]) for name in ("k1", "k2"))
    return records.pairs(k1, k2, iterations_per_epoch, end)


def between_saved(own: Values, run: runs.Run, threads: Threads) -> bool:
    """The line between two saved networks; whether any of it was missing."""
    files = [existing(name, own[name]) for name in ("start", "end")]
    request, store = Request.of(own), Records(run.folder)
    missing = not store.has([(None, None)], request)
    if missing:
        from isthmus.connectivity import kept_lines

        evaluator = evaluator_of(own, files, threads)
        kept_lines.measure(run, evaluator, request, [(None, None, files)])
    report(store, [(None, None)], request)
    return missing


def report(store: Records, lines: Sequence[records.Named], request: Request) -> None:
    """Say what lines show: of this main branch, and of all that there are of the study."""
    pairs = list(dict.fromkeys(pair for pair, _ in lines))
    log.info(summary.of(store.folder, pairs, request))
    if store.study and summary.num_main_branches(store.study.folder, pairs, request) > 1:
        log.info(summary.of(store.study.folder, pairs, request))
    at_chance = summary.at_chance([store.folder], lines, request)
    if at_chance:
        log.warning(at_chance)


def over_plane(own: Values, run: runs.Run, threads: Threads) -> bool:
    """A grid of the plane through three saved networks; whether any point of it was missing."""
    three, others = ([existing(name, f) for f in own[name]] for name in ("plane", "project"))
    request, files = planes.Request.of(own), planes.Files(run.folder)
    with run.locked():
        missing = not files.is_done(request, others)
        if missing:
            from isthmus.connectivity import measured_plane

            evaluator = evaluator_of(own, [*three, *others], threads)
            measured_plane.measure(files, evaluator, three, others, request)
    at_chance = files.at_chance()
    if at_chance:
        log.warning(at_chance)
    return missing


def existing(option: str, file: str) -> Path:
    if not Path(file).is_file():
        raise FileNotFoundError(f"{option}: {runs.what_is_there(Path(file))}")
    return Path(file)


def evaluator_of(own: Values, files: list[Path], threads: Threads) -> "Evaluator":
    """Evaluates networks of the architecture that all these files have."""
    import torch

    from isthmus.training import rebuilt
    from isthmus.training.recipe import Runtime

    torch.set_num_threads(threads())
    metadata, cache = ingredients.check(files), f"{own['output_dir']}/cache"
    runtime = Runtime(**config.runtime(own))
    dataset, typed = own["dataset"], own["dataset_typed"]
    evaluator = rebuilt.evaluator(metadata, dataset, typed, cache, runtime, own["precision"])
    evaluator.data.require_accuracy("dataset")
    return evaluator
