"""Evaluate the straight line between two networks, or a plane through three. Options: --help."""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from omegaconf import DictConfig

from isthmus.averaging import checkpoints
from isthmus.branching.plan import SpawnTree
from isthmus.config import launch, naming
from isthmus.connectivity import options, plan, results
from isthmus.connectivity.plan import BranchPair, LineRecords, LineRequest
from isthmus.paths import CONF
from isthmus.plots import studies
from isthmus.store import files as store_files
from isthmus.store import locks

if TYPE_CHECKING:
    from isthmus.training.evaluator import Evaluator

log = logging.getLogger(__name__)
Values = dict[str, Any]
Threads = Callable[..., int]  # `launch.threads` of the job, given an earlier result


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="interpolate")
def main(cfg: DictConfig) -> None:
    measure_mode = {
        "InterpolateBranches": measure_branch_lines,
        "InterpolateLine": measure_saved_line,
        "InterpolatePlane": measure_saved_plane,
    }
    with launch.job(cfg):
        run, mode, threads = (
            store_files.Run(launch.job_folder()),
            launch.current_mode(cfg),
            partial(launch.threads, cfg),
        )
        was_missing = measure_mode[mode](launch.option_values(cfg, mode), run, threads)
        if not was_missing:
            log.info("results are complete; nothing to compute")
        if not launch.is_in_sweep():  # a sweep draws at its end
            with run.lock():
                studies.update_connectivity(run.folder)
        log.info("results in %s", launch.display_path(run.folder))


def measure_branch_lines(values: Values, run: store_files.Run, threads: Threads) -> bool:
    """Lines from a main branch to others that left it k2 before; whether any was missing."""
    name = f"spawn_{naming.run_name(values, 'Spawn')}"  # the folder that spawn.py has, too
    tree = SpawnTree(Path(values["output_dir"]).absolute() / name / f"seed_{values['global_seed']}")
    seeds, request, store = (
        options.child_seeds(values),
        LineRequest.from_values(values),
        LineRecords(run.folder),
    )
    main_branch, pairs = tree.parent.read_result(), list[BranchPair]()
    if main_branch is not None:
        pairs = list_pairs(values, main_branch["iterations_per_epoch"], main_branch["end"])
    lines = [(pair, seed) for pair in pairs for seed in seeds]
    missing = not lines or store.lack(lines, request)
    missing = missing or not tree.parent.is_complete(values["snapshots"])
    if missing:
        with locks.folder_unless_error(tree.folder), locks.hold_shared(tree.folder):
            pairs = train_and_measure(values, run, tree, threads)
    report(store, [(pair, seed) for pair in pairs for seed in seeds], request)
    return missing


def train_and_measure(
    values: Values, run: store_files.Run, tree: SpawnTree, threads: Threads
) -> list[BranchPair]:
    import torch  # takes seconds: not for --help, a refused option or a finished study

    from isthmus.branching import family as branching_family
    from isthmus.connectivity import line

    torch.set_num_threads(threads(tree.parent.read_result()))
    seeds, request = options.child_seeds(values), LineRequest.from_values(values)
    family = branching_family.build_family(values, tree)
    session = family.session
    session.evaluator.check_splits(request.splits)
    session.check_schedule(session.planned_end)
    pairs = list_pairs(values, session.iterations_per_epoch, session.planned_end)
    branching_family.train_branch_pairs(
        family, [(pair.k1, pair.k2) for pair in pairs], seeds, values["snapshots"]
    )
    log.info("%d optimizer steps made", family.num_steps)
    lines = [
        (pair, seed, [tree.parent.weights(pair.total), branch.weights(pair.total)])
        for pair in pairs
        for seed in seeds
        for branch in [tree.child(pair.text(pair.k1), seed)]
    ]
    try:
        line.measure_missing_lines(run, session.evaluator, request, lines)
    finally:  # also those before an error
        results.complete_tables(run.folder)
    return pairs


def list_pairs(values: Values, iterations_per_epoch: int, end: int) -> list[BranchPair]:
    k1, k2 = (options.list_steps(values[name]) for name in ("k1", "k2"))
    return plan.all_pairs(k1, k2, iterations_per_epoch, end)


def measure_saved_line(values: Values, run: store_files.Run, threads: Threads) -> bool:
    """The line between two saved networks; whether any of it was missing."""
    files = [existing_file(name, values[name]) for name in ("start", "end")]
    request, store = LineRequest.from_values(values), LineRecords(run.folder)
    missing = store.lack([(None, None)], request)
    if missing:
        from isthmus.connectivity import line

        evaluator = build_evaluator(values, files, threads)
        line.measure_missing_lines(run, evaluator, request, [(None, None, files)])
    report(store, [(None, None)], request)
    return missing


def report(store: LineRecords, lines: Sequence[plan.LineKey], request: LineRequest) -> None:
    """Log the barriers of this main branch, and of all main branches of the study."""
    results.complete_tables(store.folder)
    log.info(results.summarize(store.folder, lines, request))
    at_chance = results.chance_message([store.folder], lines, request)
    if at_chance:
        log.warning(at_chance)


def measure_saved_plane(values: Values, run: store_files.Run, threads: Threads) -> bool:
    """A grid of the plane through three saved networks; whether any point was missing."""
    three, others = (
        [existing_file(name, f) for f in values[name]] for name in ("plane", "project")
    )
    request, files = plan.PlaneRequest.from_values(values), plan.PlaneFiles(run.folder)
    with run.lock():
        missing = not files.is_done(request, others)
        if missing:
            from isthmus.connectivity import plane

            evaluator = build_evaluator(values, [*three, *others], threads)
            plane.measure_plane(files, evaluator, three, others, request)
    at_chance = files.at_chance()
    if at_chance:
        log.warning(at_chance)
    return missing


def existing_file(option: str, file: str) -> Path:
    if not Path(file).is_file():
        raise FileNotFoundError(f"{option}: {store_files.missing_weights_message(Path(file))}")
    return Path(file)


def build_evaluator(values: Values, files: list[Path], threads: Threads) -> "Evaluator":
    """Evaluates networks of the architecture that all these files have."""
    import torch

    from isthmus.training import evaluator as training_evaluator
    from isthmus.training.options import Runtime

    torch.set_num_threads(threads())
    metadata, cache = checkpoints.check_architectures(files), f"{values['output_dir']}/cache"
    runtime = Runtime(**launch.runtime(values))
    dataset, typed = values["dataset"], values["dataset_typed"]
    evaluator = training_evaluator.saved_evaluator(
        metadata, dataset, typed, cache, runtime, values["precision"]
    )
    evaluator.data.require_accuracy("dataset")
    return evaluator
