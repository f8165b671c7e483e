"""Instability of tickets: lines between children of one level (Frankle et al., 2020).

Imports torch only to measure.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from isthmus.connectivity import plan as connectivity_plan
from isthmus.connectivity import results
from isthmus.connectivity.plan import BranchPair, LineKey, LineRecords
from isthmus.pruning.options import Instability
from isthmus.pruning.plan import PruningPlan, PruningTree

if TYPE_CHECKING:
    from isthmus.pruning.branches import Children


def measure(options: Instability, children: "Children", level: int) -> None:
    """Train the children of one level, and measure the lines between them."""
    from isthmus.connectivity import line

    study, files = children.study, children.train(level)
    run, pair = study.tree.branch(level, children.folder), branch_pair(study.plan)
    lines = [
        (pair, name, [files[start], files[end]])
        for name, (start, end) in connectivity_plan.seed_pairs(options.seeds).items()
    ]
    line.measure_missing_lines(run, study.starts.session.evaluator, options.line, lines)
    results.complete_tables(run.folder)
    children.finish(level)


def is_measured(options: Instability, tree: PruningTree, plan: PruningPlan) -> bool:
    """Whether every requested line is measured at every level."""
    lines, request = list_lines(options, plan), options.line
    folders = branch_folders(tree, plan)
    return not any(LineRecords(folder).lack(lines, request) for folder in folders)


def chance_message(options: Instability, tree: PruningTree, plan: PruningPlan) -> str | None:
    """One line that names the children at chance level, if any."""
    folders, lines = branch_folders(tree, plan), list_lines(options, plan)
    return results.chance_message(folders, lines, options.line)


def list_lines(options: Instability, plan: PruningPlan) -> list[LineKey]:
    """The lines between every two children of one level."""
    return [(branch_pair(plan), name) for name in connectivity_plan.seed_pairs(options.seeds)]


def branch_folders(tree: PruningTree, plan: PruningPlan) -> list[Path]:
    """The folder of the branch of each level."""
    return [
        tree.branch(level, str(plan.options.branch_folder)).folder for level in plan.branch_levels
    ]


def branch_pair(plan: PruningPlan) -> BranchPair:
    """The shared and the separate part of the children's training, as planned."""
    return BranchPair(plan.rewind, plan.end - plan.rewind, plan.iterations_per_epoch)
