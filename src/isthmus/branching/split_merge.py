"""Split-merge: a parent, children from its end, and their average as the next parent."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import nn

from isthmus import rng, state_dicts, tables
from isthmus.branching import averages
from isthmus.branching.family import BranchFamily
from isthmus.branching.plan import seeds_text
from isthmus.branching.results import LEG_COLUMNS, LEG_KEY, Legs, leg_number, leg_rows
from isthmus.store.files import (
    Run,
    load_metadata,
    load_state,
    load_weights,
    save_weights,
)
from isthmus.training import batch_norm
from isthmus.training.fit import fit
from isthmus.training.options import StreamSeeds
from isthmus.training.recipe import Recipe
from isthmus.training.session import Session

LR_FACTOR = 4  # by which decrease_lr divides, once per leg


@dataclass(frozen=True)
class LegChanges:
    """Changes of the recipe by a strategy in one leg."""

    batch_size: int
    lr_factor: float = 1.0

    def apply_to(self, recipe: Recipe) -> Recipe:
        """The recipe with these changes; its loaded optimizer state does not undo them."""
        optimizer = recipe.optimizer
        if self.lr_factor != 1:
            optimizer = partial(_make_scaled, optimizer, self.lr_factor)
        metadata = copy.deepcopy(recipe.metadata)
        if "config" in metadata:
            metadata["config"]["hparams"]["batch_size"] = self.batch_size
            if (
                "lr" in metadata["config"]["optimizer"]
            ):  # else the default of the optimizer, which is not known here
                metadata["config"]["optimizer"]["lr"] *= self.lr_factor
        hparams = replace(recipe.hparams, batch_size=self.batch_size)
        return replace(recipe, hparams=hparams, optimizer=optimizer, metadata=metadata)


def leg_changes(
    strategy: str | None, recipe: Recipe, leg: int, num_children: int, role: str
) -> LegChanges:
    """Changes of the recipe by a strategy, for the parent or the children of a leg.

    Args:
        strategy: one that `SplitMerge` allows.
        recipe: of the first parent.
        leg: counted from 0.
        num_children: of each leg.
        role: "parent" or "child".

    Raises:
        ValueError: the batches would be of less than one example.
    """
    size = recipe.hparams.batch_size
    if strategy == "decrease_lr":
        return LegChanges(size, 1 / LR_FACTOR**leg)
    if strategy == "repeat_increase_batch_size":
        return LegChanges(size * num_children**leg)
    if strategy == "decrease_child_batch_size" and role == "child":
        if size < num_children:
            raise ValueError(
                f"split_merge.strategy={strategy}: {num_children} children cannot share batches of "
                f"hparams.batch_size={size}"
            )
        return LegChanges(size // num_children)
    return LegChanges(size)


class MergeTrainer:
    """Trains and merges the missing legs.

    Args:
        family: whose parent is trained to its end; with its recipe, data and seeds.
        legs: their folder and the request.
    """

    def __init__(self, family: BranchFamily, legs: Legs) -> None:
        self.family, self.legs = family, legs
        self.origins = family.origins
        self._sessions: dict[LegChanges, Session] = {}
        for role in ("parent", "child"):
            self._changes(legs.num_legs - 1, role)
        end = family.session.planned_end
        length = legs.length(family.session.iterations_per_epoch, end)
        family.check_schedule(end, length)
        self.last = end + length  # the last iteration that any of them reaches

    def train(self) -> None:
        """Train the legs that are not in the table, and write it after each."""
        for leg in range(self.legs.num_legs):
            if leg in self.legs.measured_legs():
                continue
            self._train(leg)
            with self.legs.average(leg).lock():
                new = [*self._trained_rows(leg), *self._merge(leg)]
            with Run(self.legs.folder).lock():
                tables.add_rows(self.legs.table, LEG_COLUMNS, new, LEG_KEY, leg_number)

    def _train(self, leg: int) -> None:
        """Train the parent and the children of a leg."""
        parent = self.legs.parent(leg)
        if leg > 0:
            with parent.lock():
                begin = partial(self._begin_parent, leg)
                self.family.num_steps += self._fit(parent, begin, f"leg {leg}: parent")
        missing = [s for s in self.legs.child_seeds if not self.legs.child(leg, s).result.exists()]
        if self.family.workers is None:  # with one session for all children of the leg
            self.family.num_steps += sum(self.train_child(leg, seed) for seed in missing)
        else:
            self.family.run_tasks(
                [partial(train_leg_child, self.legs, leg, seed) for seed in missing]
            )

    def train_child(self, leg: int, seed: int) -> int:
        """Train a child of a leg; returns how many optimizer steps were made."""
        run = self.legs.child(leg, seed)
        with run.lock():
            return self._fit(run, partial(self._begin_child, leg, seed), f"leg {leg}: child {seed}")

    def _fit(self, run: Run, begin: Callable[[], Session], words: str) -> int:
        """Train a run to the end of its session, where a snapshot is kept."""
        if run.is_complete(None):
            return 0
        session, predictions = begin(), self.family.save_predictions
        return fit(run, lambda: session, [session.end], predictions, label=words)

    def _begin_parent(self, leg: int) -> Session:
        session = self._session(leg, "parent")
        before = self.legs.average(leg - 1)
        (iteration,) = before.snapshots()
        weights, _ = load_weights(before.weights(iteration))
        session.restart(_seeds_of_leg(self.origins.seeds, leg), weights, origin={"leg": leg})
        if self.legs.strategy != "restart_optimizer":
            state = load_state(before.snapshot_state(iteration))
            session.training.optimizer.load_state_dict(state["training"]["optimizer"])
        return session

    def _begin_child(self, leg: int, seed: int) -> Session:
        session, parent = self._session(leg, "child"), self.legs.parent(leg)
        result = parent.read_result()
        assert result is not None  # it was trained before
        epochs = result["iteration"] / result["iterations_per_epoch"]
        start = round(epochs * session.iterations_per_epoch)
        seeds = _seeds_of_leg(self.origins.seeds_of_child(seed), leg)
        weights, _ = load_weights(parent.weights(result["iteration"]))
        end = start + self.legs.length(session.iterations_per_epoch, session.planned_end)
        session.restart(seeds, weights, end, {"leg": leg, "child_seed": seed})
        session.load_snapshot(parent, result["iteration"])
        if start != result["iteration"]:  # batches of another size: as many epochs are done
            session.training.iteration = start
            session.training.running.clear()
        return session

    def _trained_rows(self, leg: int) -> list[dict[str, Any]]:
        """Rows of parent and children, with their own statistics and treated like their average."""
        evaluator, rows = self.family.session.evaluator, []
        members = [("parent", "", self.legs.parent(leg))]
        members += [("child", str(s), self.legs.child(leg, s)) for s in self.legs.child_seeds]
        for role, seed, run in members:
            size, result = self._changes(leg, role).batch_size, run.read_result()
            assert result is not None  # it was trained before
            table = result["evaluation"]["plain"]
            rows += leg_rows(leg, (role, seed), size, "keep", table)
            if self.legs.bn == "keep":
                continue
            if self.legs.bn == "reset" and batch_norm.has_batch_norm(evaluator.model):
                weights = evaluator.load(run.weights(result["iteration"]))
                table = evaluator.table(
                    {role: evaluator.with_bn_statistics(weights, weights, "reset")}
                )[role]
            rows += leg_rows(leg, (role, seed), size, self.legs.bn, table)
        return rows

    def _merge(self, leg: int) -> list[dict[str, Any]]:
        """The average of a leg's children, written with its state, and its rows."""
        run, evaluator = self.legs.average(leg), self.family.session.evaluator
        runs = [self.legs.child(leg, seed) for seed in self.legs.child_seeds]
        results = [child.read_result() for child in runs]
        iterations = [result["iteration"] for result in results if result is not None]
        files = [child.weights(i) for child, i in zip(runs, iterations, strict=True)]
        last, metadata = evaluator.load(files[-1]), load_metadata(files[-1])
        mean = state_dicts.mean(map(evaluator.load, files), [1.0] * len(files))
        weights = evaluator.with_bn_statistics(mean, last, self.legs.bn)
        metadata.pop("child_seed", None)
        save_weights(run.weights(iterations[-1]), weights, metadata | {"bn": self.legs.bn})
        state_files = [child.snapshot_state(i) for child, i in zip(runs, iterations, strict=True)]
        averages.save_mean_state(run.snapshot_state(iterations[-1]), state_files)
        table = evaluator.table({"average": weights})["average"]
        return leg_rows(
            leg, ("average", seeds_text(self.legs.child_seeds)), "", self.legs.bn, table
        )

    def _session(self, leg: int, role: str) -> Session:
        changes = self._changes(leg, role)
        if changes not in self._sessions:
            self._sessions.clear()  # each lays out the data for itself
            family = self.family
            self._sessions[changes] = Session(
                changes.apply_to(self.origins.recipe),
                self.origins.data,
                self.origins.seeds,
                family.runtime,
                checks_schedule=False,
            )
        return self._sessions[changes]

    def _changes(self, leg: int, role: str) -> LegChanges:
        num_children = len(self.legs.child_seeds)
        return leg_changes(self.legs.strategy, self.origins.recipe, leg, num_children, role)


def train_leg_child(legs: Legs, leg: int, seed: int, family: BranchFamily) -> int:
    """A task of a family: train a child of a leg, see `MergeTrainer.train_child`."""
    return MergeTrainer(family, legs).train_child(leg, seed)


def _seeds_of_leg(seeds: StreamSeeds, leg: int) -> StreamSeeds:
    """Seeds of a leg, which begins at epoch 0 or where an earlier one did, and must not repeat."""
    if leg == 0:
        return seeds
    return StreamSeeds(**{name: rng.derive(seed, "leg", leg) for name, seed in vars(seeds).items()})


def _make_scaled(
    make: Callable[[list[nn.Parameter]], torch.optim.Optimizer],
    factor: float,
    parameters: list[nn.Parameter],
) -> torch.optim.Optimizer:
    """An optimizer at a multiple of its learning rate."""
    optimizer = make(parameters)
    for group in optimizer.param_groups:
        group["lr"] *= factor
    return optimizer
