"""What a tree lacks of what is asked for.

Imports no torch, so that a finished study ends at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from isthmus.branching import cells, pairs
from isthmus.branching.plan import Average, Plan
from isthmus.branching.tree import Tree
from isthmus.runs import Run
from isthmus.steps import Step


@dataclass(frozen=True)
class Cell:
    """One network to evaluate: an average of one of the models that are tracked."""

    average: Average
    model: str
    bn: str
    splits: list[str]  # of which nothing is known yet; none if the weights alone are missing


def nothing(tree: Tree, plan: Plan, save: bool) -> bool:
    """Whether a tree has all that is asked for, but for the tables of the whole.

    Args:
        tree: of which the parent is done.
        plan: what is asked for.
        save: whether averages are to be kept as weights.
    """
    if not tree.parent.is_complete(as_steps(plan.kept_by_parent)):
        return False
    for spawn_step in plan.spawn_steps:
        kept, end = as_steps(plan.kept_by_child(spawn_step)), spawn_step + plan.child_length
        for seed in plan.request.child_seeds:
            if not tree.child(plan.text(spawn_step), seed).is_complete(kept, end):
                return False
        for run, some in by_folder(tree, plan, spawn_step).items():
            if averages(tree, plan, spawn_step, run, some, save):
                return False
        if pairs.missing(tree, plan, spawn_step):
            return False
    return True


def as_steps(iterations: Sequence[int]) -> list[Step]:
    """Iterations as a request for snapshots."""
    return [f"{iteration}it" for iteration in iterations]


def by_folder(tree: Tree, plan: Plan, spawn_step: int) -> dict[Run, list[Average]]:
    """All that is asked for of one spawn step, by the folder in which its table lies."""
    folders: dict[Run, list[Average]] = {}
    of_children = [a for seed in plan.request.child_seeds for a in plan.of_child(seed)]
    for average in [*of_children, *plan.across()]:
        run = cells.folder(tree, plan.text(spawn_step), average)
        folders.setdefault(run, []).append(average)
    return folders


def averages(
    tree: Tree,
    plan: Plan,
    spawn_step: int,
    run: Run,
    some: Sequence[Average],
    save: bool,
) -> list[Cell]:
    """What a folder lacks of the averages that are asked for.

    Children that stopped early have nothing at later steps; neither have their averages.
    """
    request, rows = plan.request, cells.read(run.folder / cells.NAME)
    found = []
    for average in some:
        for model in models_of(tree, plan, spawn_step, average):
            _, iteration = places(tree, plan, spawn_step, average)[-1]
            for bn in cells.treatments(average, request.bn):
                keys = {split: cells.key(average, model, bn, split) for split in request.splits}
                splits = [split for split, key in keys.items() if key not in rows]
                unsaved = save and average.kind != "child"
                if unsaved and weights_of(run, average, iteration, model, bn).exists():
                    state = state_of(run, average, iteration, bn)
                    unsaved = model == "plain" and not state.exists()
                if splits or unsaved:
                    found.append(Cell(average, model, bn, splits))
    return found


def models_of(tree: Tree, plan: Plan, spawn_step: int, average: Average) -> list[str]:
    """Which of the models asked for all members of an average have."""
    kept = [run.kept_models(i) for run, i in places(tree, plan, spawn_step, average)]
    common = [name for name in kept[-1] if all(name in names for names in kept)]
    asked = plan.request.models
    return [name for name in common if ("plain" if name == "plain" else "averaged") in asked]


def places(tree: Tree, plan: Plan, spawn_step: int, average: Average) -> list[tuple[Run, int]]:
    """The run, and the iteration of it, at which each member of an average is kept."""
    return [
        (tree.child(plan.text(spawn_step), seed), spawn_step + child_step)
        if child_step
        else (tree.parent, spawn_step)
        for seed, child_step in average.members
    ]


def weights_of(run: Run, average: Average, iteration: int, model: str, bn: str) -> Path:
    """File of a saved average."""
    return run.weights(_moment(average, iteration, bn), model)


def state_of(run: Run, average: Average, iteration: int, bn: str) -> Path:
    """File of the optimizer state that is saved with an average."""
    return weights_of(run, average, iteration, "plain", bn).with_suffix(".state.pt")


def _moment(average: Average, iteration: int, bn: str) -> int | str:
    """As a snapshot of its run; led by its kind or treatment where there are others."""
    before = [] if average.kind in ("across", "back") else [average.kind]
    before += [] if bn == "reset" else [bn]
    return "_".join([*before, f"step_{iteration}"]) if before else iteration
