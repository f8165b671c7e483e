"""Requests of `spawn.py` in iterations, and the folders and files of a study of branches.

Imports no torch.
"""

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from isthmus import steps
from isthmus.branching.options import Spawn
from isthmus.steps import Snapshots, Step
from isthmus.store import locks
from isthmus.store.files import Run


@dataclass(frozen=True)
class SpawnTree:
    """The folder of one study of branches.

    A spawn step is the text of a moment of the parent, such as "1ep", by which folders are named.
    """

    folder: Path

    @property
    def pretrain(self) -> Run:
        return Run(self.folder / "pretrain")

    @property
    def parent(self) -> Run:
        return Run(self.folder / "parent")

    @property
    def averages(self) -> Path:
        return self.folder / "averages.csv"

    @property
    def distances(self) -> Path:
        return self.folder / "distance" / "distance.csv"

    @property
    def figures(self) -> Path:
        return self.folder / "figures"

    def lock_tables(self) -> AbstractContextManager[None]:
        """Hold the tables of the whole tree, and their figures, to write them."""
        folder = self.distances.parent
        return locks.exclusive(folder, [folder, self.folder, self.figures])

    def child(self, spawn_step: Step, seed: int) -> Run:
        """One child, whose steps are counted from the beginning of its parent."""
        return Run(self.folder / "children" / spawn_step / f"seed_{seed}")

    def average_back(self, spawn_step: Step, seed: int) -> Run:
        """Averages of one child with earlier states of itself."""
        return Run(self.folder / "avg_back" / spawn_step / f"seed_{seed}")

    def average_across(self, spawn_step: Step, seeds: Sequence[int]) -> Run:
        """Averages of several children of one spawn step."""
        return Run(self.folder / "avg_across" / spawn_step / f"seeds_{seeds_text(seeds)}")

    def distance(self, spawn_step: Step) -> Path:
        """Table of the distances of the children of one spawn step."""
        return self.folder / "distance" / spawn_step / "pairs.csv"

    def legs(self, name: str) -> Path:
        """Folder of one repetition of splitting and merging."""
        return self.folder / "legs" / name


def seeds_text(seeds: Sequence[int]) -> str:
    """Seeds as text in names and tables: "1-2-3"."""
    return "-".join(map(str, seeds))


BACK_POWERS = {"back": (), "back_plus_one": (2,), "back_plus_three": (1, 2, 4)}  # of 1/sqrt(2)


@dataclass(frozen=True)
class PlannedAverage:
    """A child, or a mean of networks, at one child step.

    `members` are pairs of a child's seed and a child step; child step 0 is the parent at the spawn
    step. What cannot be averaged is that of the last one.
    """

    kind: str
    child_step: int
    seeds: tuple[int, ...]
    members: tuple[tuple[int, int], ...]


@dataclass(frozen=True, kw_only=True)
class SpawnPlan:
    """What is trained, averaged and evaluated, in iterations of a parent.

    Args:
        iterations_per_epoch: optimizer steps in one epoch.
        end: last iteration of the parent, as planned.
        spawn_steps: of the parent, at which children leave it.
        kept_by_parent: iterations of the parent that are kept.
        child_seeds: one child of each spawn step per seed.
        child_length: of the children, from their spawn step on.
        child_steps: from the spawn step on, at which children are kept and compared.
        averages, num_children, models, bn, splits: see `branching.options.Spawn`.
    """

    iterations_per_epoch: int
    end: int
    spawn_steps: list[int]
    kept_by_parent: list[int]
    child_seeds: list[int]
    child_length: int
    child_steps: list[int]
    averages: Sequence[str] = ()
    num_children: list[int] | None = None
    models: Sequence[str] = ("plain",)
    bn: str = "reset"
    splits: Sequence[str] = ("train", "test")

    @classmethod
    def from_options(cls, options: Spawn, iterations_per_epoch: int, end: int) -> "SpawnPlan":
        """The plan of the options of `spawn.py`.

        Args:
            options: as typed.
            iterations_per_epoch: optimizer steps in one epoch.
            end: last iteration of the parent, as planned.

        Raises:
            ValueError: a step is after the end of the parent or of the children, or there is no
                spawn step at the index `only`.
        """
        all_steps = _iterations("spawn_steps", options.spawn_steps, iterations_per_epoch, end)
        spawn_steps, only = all_steps, options.only
        if options.spawn_step is not None:
            spawn_steps = _iterations("spawn_step", [options.spawn_step], iterations_per_epoch, end)
        elif only is not None:
            if not 0 <= only < len(all_steps):
                raise ValueError(f"only={only}: must be from 0 to {len(all_steps) - 1}")
            spawn_steps = [all_steps[only]]
        length = options.child_length
        child_length = steps.to_iteration(length, iterations_per_epoch) if length else end
        return cls(
            iterations_per_epoch=iterations_per_epoch,
            end=end,
            spawn_steps=spawn_steps,
            kept_by_parent=sorted({0, *all_steps, *spawn_steps}),
            child_seeds=options.child_seeds,
            child_length=child_length,
            child_steps=_iterations(
                "child_steps", options.child_steps, iterations_per_epoch, child_length
            ),
            averages=options.averages,
            num_children=options.num_children,
            models=options.models,
            bn=options.bn,
            splits=options.splits,
        )

    @property
    def last(self) -> int:
        """The last iteration that the parent or a child reaches."""
        return max([self.end, *(step + self.child_length for step in self.spawn_steps)])

    def text(self, iteration: int) -> Step:
        """An iteration as text in names of folders."""
        return steps.to_text(iteration, self.iterations_per_epoch)

    def epochs(self, iteration: int) -> str:
        """An iteration in epochs, as written in tables."""
        return f"{round(iteration / self.iterations_per_epoch, 6):g}"

    def kept_by_child(self, spawn_step: int) -> list[int]:
        """Iterations, counted from the beginning of the parent, that children keep."""
        needed = {step for average in self.child_averages(0) for _, step in average.members}
        return sorted(spawn_step + step for step in needed if step > 0)

    def child_averages(self, seed: int) -> list[PlannedAverage]:
        """One child, and its averages with earlier states of itself, at each child step."""
        averages = []
        for step in self.child_steps:
            averages.append(PlannedAverage("child", step, (seed,), ((seed, step),)))
            for kind in self.averages:
                members = tuple((seed, earlier) for earlier in back_steps(kind, step))
                if len(members) > 1:
                    averages.append(PlannedAverage(kind, step, (seed,), members))
        return averages

    def across_averages(self) -> list[PlannedAverage]:
        """Averages of several children of one spawn step, at each child step where they differ."""
        if "across" not in self.averages:
            return []
        seeds = self.child_seeds
        numbers = self.num_children or range(2, len(seeds) + 1)
        chosen = [tuple(sorted(seeds[:number])) for number in numbers]
        return [
            PlannedAverage("across", step, some, tuple((seed, step) for seed in some))
            for some in chosen
            for step in self.child_steps
            if step > 0
        ]


def average_folder(tree: SpawnTree, spawn_step: str, average: PlannedAverage) -> Run:
    """The folder of an average, and of the table with its row."""
    if average.kind == "across":
        return tree.average_across(spawn_step, average.seeds)
    (seed,) = average.seeds
    return (tree.child if average.kind == "child" else tree.average_back)(spawn_step, seed)


def member_snapshots(
    tree: SpawnTree, plan: SpawnPlan, spawn_step: int, average: PlannedAverage
) -> list[tuple[Run, int]]:
    """The run, and the iteration of it, at which each member of an average is kept."""
    return [
        (tree.child(plan.text(spawn_step), seed), spawn_step + child_step)
        if child_step
        else (tree.parent, spawn_step)
        for seed, child_step in average.members
    ]


def weights_file(run: Run, average: PlannedAverage, iteration: int, model: str, bn: str) -> Path:
    """File of a saved average."""
    return run.weights(_moment(average, iteration, bn), model)


def state_file(run: Run, average: PlannedAverage, iteration: int, bn: str) -> Path:
    """File of the optimizer state that is saved with an average."""
    return weights_file(run, average, iteration, "plain", bn).with_suffix(".state.pt")


def _moment(average: PlannedAverage, iteration: int, bn: str) -> int | str:
    """Name of the average's snapshot; begins with its kind or treatment where there are others."""
    before = [] if average.kind in ("across", "back") else [average.kind]
    before += [] if bn == "reset" else [bn]
    return "_".join([*before, f"step_{iteration}"]) if before else iteration


def back_steps(kind: str, child_step: int) -> list[int]:
    """Child steps of a mean over one child's past, in order, each once; `child_step` comes last.

    `child_step` counts as a power of sqrt(2) if it is one rounded, so that on the grid of
    `steps.log_grid` every earlier point is a point of that grid; 0 is the spawn step.

    Args:
        kind: "back": 0 and k; "back_plus_one": and k/2; "back_plus_three": and k/sqrt(2), k/2,
            k/4; "back_all": 0, the grid up to k, and k; any other: none.
        child_step: k, in iterations.
    """
    if kind == "back_all":
        return sorted({step for step in steps.log_grid(child_step) if step <= child_step})
    if kind not in BACK_POWERS:
        return []
    power = 2 * math.log2(child_step) if child_step else 0.0
    if child_step == round(2 ** (round(power) / 2)):
        power = round(power)
    earlier = (round(2 ** ((power - back) / 2)) for back in BACK_POWERS[kind])
    return sorted({0, child_step, *(step for step in earlier if step < child_step)})


def _iterations(name: str, request: Snapshots, iterations_per_epoch: int, end: int) -> list[int]:
    try:
        return steps.to_iterations(request, iterations_per_epoch, end)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
