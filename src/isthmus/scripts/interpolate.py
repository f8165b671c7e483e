"""Evaluate the straight line between two networks, or a plane through three. Options: --help."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import hydra
from omegaconf import DictConfig

from isthmus.averaging import checkpoints
from isthmus.branching.options import Spawn
from isthmus.branching.plan import SpawnTree
from isthmus.config import launch, naming, schema
from isthmus.connectivity import options as connectivity_options
from isthmus.connectivity import plan, results
from isthmus.connectivity.options import (
    InterpolateBranches,
    InterpolateLine,
    InterpolatePlane,
    LineOptions,
    SavedNetworks,
)
from isthmus.connectivity.plan import BranchPair, LineRecords
from isthmus.paths import CONF, display_path
from isthmus.plots import studies
from isthmus.store import locks
from isthmus.store.files import Run, missing_weights_message

if TYPE_CHECKING:
    from isthmus.training.evaluator import Evaluator

log = logging.getLogger(__name__)


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="interpolate")
def main(cfg: DictConfig) -> dict[str, float]:
    with launch.job(cfg) as options:
        run = Run(launch.job_folder())
        if isinstance(options, InterpolateLine):
            was_missing, numbers = measure_saved_line(options, run)
        elif isinstance(options, InterpolatePlane):
            was_missing, numbers = measure_saved_plane(options, run), {}
        else:
            was_missing, numbers = measure_branch_lines(options, run)
        if not was_missing:
            log.info("results are complete; nothing to compute")
        if not launch.is_in_sweep():  # a sweep draws at its end
            with run.lock():
                studies.update_connectivity(run.folder)
        log.info("results in %s", display_path(run.folder))
        return numbers


def measure_branch_lines(options: InterpolateBranches, run: Run) -> tuple[bool, dict[str, float]]:
    """Lines from a main branch to others that left it k2 before; see `report`.

    Returns:
        Whether any was missing, and the barriers for the table of a sweep.
    """
    name = naming.run_name(schema.to_values(options), Spawn)  # the folder that spawn.py has, too
    study = Path(options.output_dir).absolute() / f"spawn_{name}"
    tree, store = SpawnTree(study / f"seed_{options.global_seed}"), LineRecords(run.folder)
    main_branch, pairs = tree.parent.read_result(), list[BranchPair]()
    if main_branch is not None:
        pairs = list_pairs(options, main_branch["iterations_per_epoch"], main_branch["end"])
    seeds = options.seeds_of_children
    lines = [(pair, seed) for pair in pairs for seed in seeds]
    missing = not lines or store.lack(lines, options)
    missing = missing or not tree.parent.is_complete(options.snapshots)
    if missing:
        with locks.folder_unless_error(tree.folder), locks.hold_shared(tree.folder):
            pairs = train_and_measure(options, run, tree)
    return missing, report(store, [(pair, seed) for pair in pairs for seed in seeds], options)


def train_and_measure(options: InterpolateBranches, run: Run, tree: SpawnTree) -> list[BranchPair]:
    import torch  # takes seconds: not for --help, a refused option or a finished study

    from isthmus.branching import family as branching_family
    from isthmus.connectivity import line

    torch.set_num_threads(launch.threads(options.runtime, tree.parent.read_result()))
    family, seeds = branching_family.build_family(options, tree), options.seeds_of_children
    session = family.session
    session.evaluator.check_splits(options.splits)
    session.check_schedule(session.planned_end)
    pairs = list_pairs(options, session.iterations_per_epoch, session.planned_end)
    departures = [(pair.k1, pair.k2) for pair in pairs]
    branching_family.train_branch_pairs(family, departures, seeds, options.snapshots)
    log.info("%d optimizer steps made", family.num_steps)
    lines = [
        (pair, seed, [tree.parent.weights(pair.total), branch.weights(pair.total)])
        for pair in pairs
        for seed in seeds
        for branch in [tree.child(pair.text(pair.k1), seed)]
    ]
    try:
        line.measure_missing_lines(run, session.evaluator, options, lines)
    finally:  # also those before an error
        results.complete_tables(run.folder)
    return pairs


def list_pairs(
    options: InterpolateBranches, iterations_per_epoch: int, end: int
) -> list[BranchPair]:
    k1, k2 = (connectivity_options.list_steps(each) for each in (options.k1, options.k2))
    return plan.all_pairs(k1, k2, iterations_per_epoch, end)


def measure_saved_line(options: InterpolateLine, run: Run) -> tuple[bool, dict[str, float]]:
    """The line between two saved networks; returns as `measure_branch_lines`."""
    files = [existing_file("start", options.start), existing_file("end", options.end)]
    store = LineRecords(run.folder)
    missing = store.lack([(None, None)], options)
    if missing:
        from isthmus.connectivity import line

        evaluator = build_evaluator(options, files)
        line.measure_missing_lines(run, evaluator, options, [(None, None, files)])
    return missing, report(store, [(None, None)], options)


def report(
    store: LineRecords, lines: Sequence[plan.LineKey], options: LineOptions
) -> dict[str, float]:
    """Log the barriers of this main branch, and of all main branches of the study.

    Returns:
        In a sweep, the barriers of this main branch for its table.
    """
    results.complete_tables(store.folder)
    log.info(results.summarize(store.folder, lines, options))
    at_chance = results.chance_message([store.folder], lines, options)
    if at_chance:
        log.warning(at_chance)
    if not launch.is_in_sweep():
        return {}
    return results.main_numbers(store.folder, [pair for pair, _ in lines], options)


def measure_saved_plane(options: InterpolatePlane, run: Run) -> bool:
    """A grid of the plane through three saved networks; whether any point was missing."""
    three = [existing_file("plane", file) for file in options.plane]
    others = [existing_file("project", file) for file in options.project]
    files = plan.PlaneFiles(run.folder)
    with run.lock():
        missing = not files.is_done(options, others)
        if missing:
            from isthmus.connectivity import plane

            evaluator = build_evaluator(options, [*three, *others])
            plane.measure_plane(files, evaluator, three, others, options)
    at_chance = files.at_chance()
    if at_chance:
        log.warning(at_chance)
    return missing


def existing_file(option: str, file: str) -> Path:
    if not Path(file).is_file():
        raise FileNotFoundError(f"{option}: {missing_weights_message(Path(file))}")
    return Path(file)


def build_evaluator(options: SavedNetworks, files: list[Path]) -> "Evaluator":
    """Evaluates networks of the architecture that all these files have."""
    import torch

    from isthmus.training.evaluator import saved_evaluator

    torch.set_num_threads(launch.threads(options.runtime))
    evaluator = saved_evaluator(checkpoints.check_architectures(files), options)
    evaluator.data.require_accuracy("dataset")
    return evaluator
