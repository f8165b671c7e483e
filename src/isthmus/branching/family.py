"""Trains a parent and its children, and a main branch and the branches that leave it."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch

from isthmus import machine, steps
from isthmus.branching.options import Spawn
from isthmus.branching.plan import SpawnPlan, SpawnTree
from isthmus.config import parts
from isthmus.data.splits import DataSet
from isthmus.state_dicts import StateDict
from isthmus.steps import Snapshots
from isthmus.store.files import Run
from isthmus.training import masked_training, pretraining
from isthmus.training.effects import (
    check_variation,
    log_modes_without_effect,
    log_seeds_without_effect,
    reason_without_effect,
)
from isthmus.training.fit import fit
from isthmus.training.options import Family, FamilyRuntime, Runtime, StreamSeeds
from isthmus.training.recipe import Recipe
from isthmus.training.session import Session
from isthmus.training.workers import Workers
from isthmus.vocabulary import STREAMS


@dataclass(frozen=True)
class FamilyConfig:
    """What determines the members of a family: recipe, data, seeds and first weights.

    Args:
        recipe: how the parent and its children are trained.
        data: the data they are trained on.
        seeds: of the parent's streams of chance.
        vary: streams of a child that its own seed feeds, in place of the parent's.
        weights: makes the weights that the parent begins from out of fresh ones; None: fresh ones.
    """

    recipe: Recipe
    data: DataSet
    seeds: StreamSeeds
    vary: Sequence[str] = STREAMS
    weights: Callable[[StateDict], StateDict] | None = None

    def seeds_of_child(self, child_seed: int) -> StreamSeeds:
        """The seeds of a child."""
        return replace(self.seeds, **dict.fromkeys(self.vary, child_seed))


class BranchFamily:
    """Trains the missing members of a tree, each once, whichever job needs it.

    Args:
        tree: their folder.
        origins: what determines them.
        runtime: how they run.
        save_predictions: whether to keep correctness per validation example.
        workers: processes that train children, each with its own family; None: this process does.
    """

    def __init__(
        self,
        tree: SpawnTree,
        origins: FamilyConfig,
        runtime: Runtime,
        save_predictions: bool = True,
        workers: Workers | None = None,
    ) -> None:
        self.tree, self.origins, self.runtime = tree, origins, runtime
        self.save_predictions, self.workers = save_predictions, workers
        self.num_steps = 0  # optimizer steps that were made
        # One for all: the data is laid out once, and what is compiled is compiled once.
        self.session = Session(
            origins.recipe, origins.data, origins.seeds, runtime, checks_schedule=False
        )
        self._initial = {k: v.clone() for k, v in self.session.model.state_dict().items()}

    def parameters(self) -> list[str]:
        """Names of the parameters, without running statistics."""
        return [name for name, _ in self.session.model.named_parameters()]

    def plan(self, options: Spawn) -> SpawnPlan:
        """The plan of the options of `spawn.py`.

        Raises:
            ValueError: a step is after the end of the parent, of the children or of the schedule;
                or the data set lacks a split.
        """
        session = self.session
        session.evaluator.check_splits(options.splits)
        plan = SpawnPlan.from_options(options, session.iterations_per_epoch, session.planned_end)
        if plan.spawn_steps:
            self.check_schedule(max(plan.spawn_steps), plan.child_length)
        return plan

    def check_schedule(self, start: int, length: int) -> None:
        """Refuse children that would outlast the schedule of the parent.

        Args:
            start: the latest iteration at which they begin.
            length: in iterations.

        Raises:
            ValueError: naming the longest that they can be.
        """
        session = self.session
        try:
            session.training.scheduler.factor(start + length - 1)
        except ValueError as error:
            texts = [
                steps.to_text(iteration, session.iterations_per_epoch)
                for iteration in (length, start, session.planned_end - start)
            ]
            earlier = start >= session.planned_end
            shorter = "an earlier spawn step" if earlier else f"child_length={texts[2]}"
            raise ValueError(
                f"child_length={texts[0]}: the children of {texts[1]} would outlast the schedule "
                f"of the parent ({error}); try {shorter} or scheduler=constant"
            ) from error

    def train_parent(
        self,
        plan: SpawnPlan,
        snapshots: Snapshots = None,
        to_its_end: bool = False,
        option: str = "spawn_steps",
    ) -> None:
        """Train the parent to its end, with a snapshot at every spawn step.

        Args:
            plan: with the spawn steps.
            snapshots: to keep in addition.
            to_its_end: whether to keep a snapshot at its end, to continue from.
            option: the name of the option with the spawn steps, for the message.

        Raises:
            ValueError: the parent stopped early, before a spawn step.
        """
        run = self.tree.parent
        with run.lock():
            extra = steps.to_iterations(snapshots, plan.iterations_per_epoch, plan.end)
            extra += [plan.end] if to_its_end else []
            self.num_steps += fit(
                run,
                self._begin_parent,
                sorted({*plan.kept_by_parent, *extra}),
                self.save_predictions,
                label="parent",
            )
        late = [step for step in plan.spawn_steps if not run.snapshot_state(step).exists()]
        if late:
            raise ValueError(
                f"{option}: {', '.join(map(plan.text, late))} is after the early stop of the "
                f"parent (hparams.patience={self.origins.recipe.hparams.patience})"
            )

    def train_children(self, plan: SpawnPlan) -> None:
        """Train the children of all spawn steps to the requested length."""
        missing = [
            (spawn_step, seed)
            for spawn_step in plan.spawn_steps
            for seed in plan.child_seeds
            if not self._is_complete(plan, spawn_step, seed)
        ]
        self.run_tasks([partial(train_child, plan, *child) for child in missing])

    def run_tasks(self, tasks: Sequence[Callable[["BranchFamily"], int]]) -> None:
        """Run tasks of a family, here or in parallel in the workers.

        Args:
            tasks: functions that train what does not depend on the other tasks, and return how
                many optimizer steps were made.
        """
        if self.workers is None or len(tasks) < 2:
            self.num_steps += sum(task(self) for task in tasks)
        else:
            self.num_steps += sum(self.workers.run(tasks))

    def train_child(self, plan: SpawnPlan, spawn_step: int, seed: int) -> int:
        """Train a child unless it is complete; returns the number of optimizer steps made.

        Raises:
            ValueError: an older version trained it in a stack with others.
        """
        run = self.tree.child(plan.text(spawn_step), seed)
        with run.lock():
            if not self._is_complete(plan, spawn_step, seed):
                _check_alone(run)
            return fit(
                run,
                partial(self._begin_child, plan, spawn_step, seed),
                plan.kept_by_child(spawn_step),
                self.save_predictions,
                end=spawn_step + plan.child_length,
                label=f"child {seed} of {plan.text(spawn_step)}",
            )

    def _is_complete(self, plan: SpawnPlan, spawn_step: int, seed: int) -> bool:
        run = self.tree.child(plan.text(spawn_step), seed)
        kept = plan.kept_by_child(spawn_step)
        return run.is_complete(kept, spawn_step + plan.child_length)

    def _begin_parent(self) -> Session:
        weights: StateDict = self._initial
        if self.origins.weights is not None:
            weights = self.origins.weights(self._initial)
        self.session.restart(self.origins.seeds, weights)
        return self.session

    def _begin_child(self, plan: SpawnPlan, spawn_step: int, seed: int) -> Session:
        origin = {"spawn_step": spawn_step, "child_seed": seed, "vary": list(self.origins.vary)}
        end = spawn_step + plan.child_length
        self.session.restart(self.origins.seeds_of_child(seed), self._initial, end, origin)
        self.session.load_snapshot(self.tree.parent, spawn_step)
        return self.session


def train_child(plan: SpawnPlan, spawn_step: int, seed: int, family: BranchFamily) -> int:
    """A task of a family: train one of its children, see `BranchFamily.train_child`."""
    return family.train_child(plan, spawn_step, seed)


def _check_alone(run: Run) -> None:
    """Refuse to resume a child whose numbers depend on others that it was trained with.

    Raises:
        ValueError: naming these others and its folder.
    """
    others = (run.read_result() or {}).get("together")
    if others is not None:
        raise ValueError(
            f"{run.folder}: an older version trained the children {', '.join(map(str, others))} "
            "as one stack, which cannot be trained on; remove the folders of the study, or choose "
            "another output_dir"
        )


Departure = tuple[int, int]  # iterations: where a branch leaves, and how much later it is compared


def train_branch_pairs(
    family: BranchFamily,
    departures: Sequence[Departure],
    seeds: Sequence[int],
    snapshots: Snapshots,
) -> None:
    """Train what is missing of a main branch, the parent, and of the branches that leave it.

    The parent is trained to its end; it and the branches keep each moment of comparison.

    Args:
        family: of all of them.
        departures: each with a branch of every seed.
        seeds: of the branches.
        snapshots: of the parent, to keep in addition.

    Raises:
        ValueError: training stopped before a moment of comparison, or a branch would be the main
            one again.
    """
    session = family.session
    _check_seeds(family, seeds)
    starts = sorted({start for start, _ in departures})
    later = sorted({further for _, further in departures})
    plan = SpawnPlan(
        iterations_per_epoch=session.iterations_per_epoch,
        end=session.planned_end,
        spawn_steps=starts,
        kept_by_parent=sorted({0, *starts}),
        child_seeds=list(seeds),
        child_length=later[-1],
        child_steps=later,
    )
    family.check_schedule(starts[-1], later[-1])
    kept = steps.to_iterations(snapshots, session.iterations_per_epoch, session.planned_end)
    compared = {sum(each) for each in departures} - {plan.end}  # whose weights are kept anyway
    family.train_parent(plan, sorted({*kept, *compared}), option="k1")
    family.train_children(plan)
    for start, further in departures:
        total, here = start + further, plan.text(start)
        branches = [family.tree.parent, *(family.tree.child(here, seed) for seed in seeds)]
        if not all(run.weights(total).exists() for run in branches):
            raise ValueError(
                f"k1={here} k2={plan.text(further)}: training stopped early, before "
                f"{plan.text(total)} (hparams.patience={family.origins.recipe.hparams.patience})"
            )


def _check_seeds(family: BranchFamily, seeds: Sequence[int]) -> None:
    """Refuse branches whose seeds are the main one's in all streams of chance with an effect.

    Raises:
        ValueError: naming the first such seed.
    """
    origins = family.origins
    streams = [name for name in origins.vary if not reason_without_effect(family.session, name)]
    for seed in seeds:
        if all(getattr(origins.seeds, stream) == seed for stream in streams):
            raise ValueError(
                f"child_seeds=[{','.join(map(str, seeds))}]: with seed {seed} the branch is the "
                f"main one again; of vary=[{','.join(origins.vary)}], only "
                f"[{','.join(streams)}] has an effect"
            )


log = logging.getLogger(__name__)


def build_family(options: Family, tree: SpawnTree) -> BranchFamily:
    """Build the family of a tree, whose parent and children are trained or not yet.

    Those of a ticket, `pretrain.weights` with a mask, keep its pruned weights at 0.

    With `runtime.num_jobs` above 1, its children are trained in processes of their own, each with
    as many threads as this one, so that the numbers are the same.

    Args:
        options: of the family.
        tree: their folder.

    Raises:
        ValueError: a part refuses its values, the pretraining has inputs of another shape, there
            is no such device, or the seeds of children would change nothing.
        FileNotFoundError: the weights to begin with, or the data, are not there.
    """
    family, runtime = _make(options, tree), options.runtime
    if options.vary:
        check_variation(family.session, options.vary)
    log_modes_without_effect(options, family.session.model)
    log_seeds_without_effect(options, family.session)
    _log_threads(family.session.device, runtime)
    if runtime.num_jobs > 1:
        make = partial(_make_in_worker, options, tree, torch.get_num_threads())
        family.workers = Workers(runtime.num_jobs, make)
    return family


def _log_threads(device: torch.device, runtime: FamilyRuntime) -> None:
    """Log how more cores can be used, if neither threads nor jobs were chosen and some idle."""
    threads, num_cores = torch.get_num_threads(), machine.share_of_cores(1)
    is_default = runtime.num_threads is None and runtime.num_jobs == 1
    if is_default and device.type == "cpu" and threads < num_cores:
        log.info(
            "%d of %d cores in use: runtime.num_jobs=%d trains as many children in parallel, with "
            "the same numbers; for large networks, runtime.num_threads=%d",
            *(threads, num_cores, num_cores, num_cores),
        )


def _make_in_worker(options: Family, tree: SpawnTree, num_threads: int) -> BranchFamily:
    torch.set_num_threads(num_threads)
    quiet = replace(options.runtime, progress=False)  # several bars at a time cannot be read
    return _make(replace(options, runtime=quiet), tree)


def _make(options: Family, tree: SpawnTree) -> BranchFamily:
    constraint = masked_training.masking_from_file(options.pretrain.weights)
    recipe = Recipe.from_options(options, constraint=constraint)
    data = parts.load_data(options.dataset, options.label_noise_seed)
    data.require_accuracy("dataset")
    weights = pretraining.build_origin(tree.pretrain, options, data)
    config = FamilyConfig(recipe, data, options.stream_seeds, options.vary, weights)
    return BranchFamily(tree, config, options.runtime, options.save_predictions)
