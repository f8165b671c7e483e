"""Averages of children: their weights and optimizer states, evaluations, and distances."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from isthmus import state_dicts
from isthmus import tables as core_tables
from isthmus.branching import results
from isthmus.branching.plan import PlannedAverage, SpawnPlan, SpawnTree
from isthmus.branching.results import Cell
from isthmus.state_dicts import StateDict
from isthmus.store.files import (
    Run,
    load_metadata,
    load_state,
    load_weights,
    save_state,
    save_weights,
)
from isthmus.training import batch_norm
from isthmus.training.evaluation import MANY
from isthmus.training.evaluator import Evaluator


def save_mean_state(path: Path, files: Sequence[Path]) -> None:
    """Write the mean of the training states of several snapshots.

    Args:
        path: of the mean.
        files: states of trainings of one recipe; what cannot be averaged is that of the last.
    """
    save_state(path, mean_state([load_state(file) for file in files]))


def mean_state(states: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The mean of the states of several trainings of one recipe.

    Buffers of the optimizer, such as momentum, are averaged over the trainings that have them: one
    that has not begun has none, and does not count as 0. Averaged models are averaged if all have
    the same. Counters, learning rates and the schedule are those of the last one.

    Args:
        states: as `Session.state_dict` returns them.
    """
    last = states[-1]
    optimizers = [state["training"]["optimizer"] for state in states]
    optimizer = {**optimizers[-1], "state": _mean_of_buffers([o["state"] for o in optimizers])}
    training = {**last["training"], "optimizer": optimizer}
    return {**last, "training": training, "averages": _mean([s["averages"] for s in states])}


def _mean_of_buffers(states: list[dict[int, dict[str, Any]]]) -> dict[int, dict[str, Any]]:
    """Mean buffers by parameter and name, each over the trainings that have it."""
    buffers_of: dict[int, dict[str, list[Any]]] = {}
    for state in states:
        for parameter, buffers in state.items():
            for name, value in buffers.items():
                buffers_of.setdefault(parameter, {}).setdefault(name, []).append(value)
    return {
        parameter: {name: _mean(values) for name, values in buffers.items()}
        for parameter, buffers in buffers_of.items()
    }


def _mean(values: Sequence[Any]) -> Any:
    """The mean of tensors of floating point, entry by entry; of all else the last."""
    last = values[-1]
    if isinstance(last, dict) and all(list(value) == list(last) for value in values):
        return {key: _mean([value[key] for value in values]) for key in last}
    if isinstance(last, list) and all(len(value) == len(last) for value in values):
        return [_mean(entries) for entries in zip(*values, strict=True)]
    if isinstance(last, Tensor) and last.is_floating_point() and last.dim() > 0:
        return torch.stack([value.double() for value in values]).mean(dim=0).to(last.dtype)
    return last


log = logging.getLogger(__name__)

# Networks evaluated in one pass over the data, and before each write of a table: fewer than are
# stacked, because in a stack the last digits would depend on the other networks in it.
AT_ONCE = MANY - 1


Table = dict[str, dict[str, float]]  # loss and accuracy, by split


class AverageEvaluator:
    """Evaluates the children of a tree, and makes and evaluates their averages.

    Args:
        tree: their folder.
        plan: which averages to make.
        evaluator: of their architecture, on their data.
        save: whether to keep averages as weights.
    """

    def __init__(self, tree: SpawnTree, plan: SpawnPlan, evaluator: Evaluator, save: bool) -> None:
        self.tree, self.plan, self.evaluator, self.save = tree, plan, evaluator, save
        self.num_evaluated = 0
        self._has_batch_norm = batch_norm.has_batch_norm(evaluator.model)
        self._common: dict[tuple[Any, ...], Table] = {}  # see `_cache_key`

    def evaluate(self, spawn_step: int) -> None:
        """Evaluate all requested averages of one spawn step, whose children are trained."""
        folders = results.cells_by_folder(self.tree, self.plan, spawn_step)
        for run, averages in folders.items():
            if results.missing_averages(self.tree, self.plan, spawn_step, run, averages, self.save):
                with run.lock():
                    self._evaluate(spawn_step, run, averages)

    def _evaluate(self, spawn_step: int, run: Run, averages: Sequence[PlannedAverage]) -> None:
        left = results.missing_averages(self.tree, self.plan, spawn_step, run, averages, self.save)
        folder = run.folder.relative_to(self.tree.folder)
        log.info("evaluating %d networks for %s", len(left), folder)
        self.num_evaluated += len(left)
        for first in range(0, len(left), AT_ONCE):
            some = left[first : first + AT_ONCE]
            networks = [self._make(spawn_step, cell) for cell in some]
            rows = []
            tables = self._tables(spawn_step, some, networks)
            for cell, table in zip(some, tables, strict=True):
                for split in cell.splits:
                    how = {"model": cell.model, "bn": cell.bn, "split": split}
                    moment = self.plan, spawn_step, cell.average
                    rows.append(results.average_row(*moment, how, table[split]))
            path = run.folder / results.TABLE_NAME
            columns, key, order = results.AVERAGE_COLUMNS, results.KEY, results.row_order
            core_tables.add_rows(path, columns, rows, key, order)
            if self.save:
                for cell, weights in zip(some, networks, strict=True):
                    self._save(spawn_step, run, cell, weights)

    def _tables(
        self, spawn_step: int, some: Sequence[Cell], networks: Sequence[StateDict]
    ) -> list[Table]:
        """Loss and accuracy by split of every cell; what is the same is evaluated once."""
        for splits in dict.fromkeys(tuple(cell.splits) for cell in some if cell.splits):
            left = {
                self._cache_key(spawn_step, cell): weights
                for cell, weights in zip(some, networks, strict=True)
                if tuple(cell.splits) == splits and self._known_table(spawn_step, cell) is None
            }
            models = {str(position): weights for position, weights in enumerate(left.values())}
            tables = self.evaluator.table(models, list(splits)) if models else {}
            for key, table in zip(left, tables.values(), strict=True):
                self._common[key] = self._common.get(key, {}) | table
        return [self._known_table(spawn_step, cell) or {} for cell in some]

    def _known_table(self, spawn_step: int, cell: Cell) -> Table | None:
        """The numbers of a cell that was evaluated, here or at the end of a training; else None."""
        average = cell.average
        table: Table = self._common.get(self._cache_key(spawn_step, cell), {})
        if average.kind == "child" and average.child_step and self._effective_bn(cell) == "keep":
            ((run, iteration),) = results.member_snapshots(
                self.tree, self.plan, spawn_step, average
            )
            result = run.read_result()
            if result and result["iteration"] == iteration and len(result["evaluation"]) < MANY:
                table = result["evaluation"].get(cell.model, {})
        return table if set(cell.splits) <= set(table) else None

    def _cache_key(self, spawn_step: int, cell: Cell) -> tuple[Any, ...]:
        """What the numbers of a cell depend on: at the spawn step all children are equal."""
        average = cell.average
        seeds = average.seeds if average.child_step or average.kind != "child" else ()
        return (
            spawn_step,
            average.kind,
            average.child_step,
            seeds,
            cell.model,
            self._effective_bn(cell),
        )

    def _effective_bn(self, cell: Cell) -> str:
        """The treatment of batch-norm statistics that makes the same numbers as `bn` of a cell."""
        is_child = cell.average.kind == "child"
        if is_child and (cell.bn == "average" or not self._has_batch_norm):
            return "keep"
        return cell.bn

    def _make(self, spawn_step: int, cell: Cell) -> StateDict:
        """The weights of one cell, on the evaluator's device."""
        mean, last = self._mean(spawn_step, cell.average, cell.model)
        return self.evaluator.with_bn_statistics(mean, last, cell.bn)

    def _mean(
        self, spawn_step: int, average: PlannedAverage, model: str
    ) -> tuple[StateDict, StateDict]:
        """The mean of an average's networks, and the last one of them."""
        last: StateDict = {}

        def networks() -> Iterator[StateDict]:
            nonlocal last
            for run, iteration in results.member_snapshots(
                self.tree, self.plan, spawn_step, average
            ):
                last = self.evaluator.load(run.weights(iteration, model))
                yield last

        if len(average.members) == 1:
            (only,) = networks()
            return only, only
        return state_dicts.mean(networks(), [1.0] * len(average.members)), last

    def _save(self, spawn_step: int, run: Run, cell: Cell, weights: StateDict) -> None:
        """Write an average as weights; with the plain one also the average optimizer state."""
        average = cell.average
        if average.kind == "child":
            return
        snapshots = results.member_snapshots(self.tree, self.plan, spawn_step, average)
        last_run, iteration = snapshots[-1]
        metadata = load_metadata(last_run.weights(iteration, cell.model))
        origin = {"average": average.kind, "members": [list(m) for m in average.members]}
        metadata |= origin | {"bn": cell.bn, "spawn_step": spawn_step}
        metadata.pop("child_seed", None)  # of the last one of them
        save_weights(
            results.weights_file(run, average, iteration, cell.model, cell.bn), weights, metadata
        )
        if cell.model == "plain":
            path = results.state_file(run, average, iteration, cell.bn)
            save_mean_state(path, [r.snapshot_state(i) for r, i in snapshots])


def measure_distances(
    tree: SpawnTree, plan: SpawnPlan, spawn_step: int, names: Sequence[str]
) -> None:
    """Measure and write the distances of one spawn step's children that its table lacks.

    Args:
        tree: with the trained children.
        plan: which of them at which child steps.
        spawn_step: an iteration of the parent.
        names: of the parameters, without running statistics.
    """
    path = tree.distance(plan.text(spawn_step))
    with Run(path.parent).lock():
        wanted = results.missing_distances(tree, plan, spawn_step)
        if not wanted:
            return
        rows = []
        start, initial = (load_weights(tree.parent.weights(i))[0] for i in (spawn_step, 0))
        for child_step in sorted({int(step) for step, _, _ in wanted}):
            here = [key for key in wanted if key[0] == str(child_step)]
            children = _load_children(tree, plan, spawn_step, child_step, here, start)
            networks = {"initialization": initial, "parent": start, **children}
            moment = _moment(plan, spawn_step, child_step)
            for key in here:
                rows.append((*moment, *key[1:], *_distance_cells(networks, *key[1:], names)))
        core_tables.add_rows(path, results.PAIRS, rows, results.PAIR_KEY, results.pair_order)


def _load_children(
    tree: SpawnTree,
    plan: SpawnPlan,
    spawn_step: int,
    child_step: int,
    wanted: Sequence[tuple[str, str, str]],
    start: StateDict,
) -> dict[str, StateDict]:
    """Weights of the children that are measured at one child step, by their seeds."""
    seeds = {seed for _, *pair in wanted for seed in pair if seed not in results.ALONE}
    if child_step == 0:
        return dict.fromkeys(seeds, start)
    runs = {seed: tree.child(plan.text(spawn_step), int(seed)) for seed in sorted(seeds)}
    iteration = spawn_step + child_step
    return {seed: load_weights(run.weights(iteration))[0] for seed, run in runs.items()}


def _distance_cells(
    networks: Mapping[str, StateDict], seed: str, other: str, names: Sequence[str]
) -> tuple[float, float | None]:
    """L2 distance and cosine; there is no cosine to the origin."""
    if other == "origin":
        return state_dicts.norm(networks[seed], names).item(), None
    pair = networks[seed], networks[other]
    l2, cosine = state_dicts.distance(*pair, names), state_dicts.cosine(*pair, names)
    return l2.item(), cosine.item()


def _moment(plan: SpawnPlan, spawn_step: int, child_step: int) -> tuple[int | str, ...]:
    return spawn_step, child_step, plan.epochs(spawn_step), plan.epochs(child_step)
