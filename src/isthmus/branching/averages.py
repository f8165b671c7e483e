"""Averages of children: their weights and optimizer states, evaluations, and distances."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from isthmus import state_dicts
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
    write_csv,
)
from isthmus.training import batch_norm
from isthmus.training.evaluation import MANY
from isthmus.training.evaluator import Evaluator


def save_mean_state(path: Path, files: Sequence[Path]) -> None:
    """Write the mean of snapshots' states.

    Args:
        path: of the mean.
        files: states of trainings of one recipe; the last one lends what cannot be averaged.
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
    """By parameter and name of the buffer, over those that have it."""
    found: dict[int, dict[str, list[Any]]] = {}
    for state in states:
        for parameter, buffers in state.items():
            for name, value in buffers.items():
                found.setdefault(parameter, {}).setdefault(name, []).append(value)
    return {
        parameter: {name: _mean(values) for name, values in buffers.items()}
        for parameter, buffers in found.items()
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

# Networks evaluated in one go through the data, and before each write of a table: fewer than are
# evaluated side by side, because there the last digits would depend on who is beside whom.
AT_ONCE = MANY - 1


Table = dict[str, dict[str, float]]  # loss and accuracy, by split


class AverageEvaluator:
    """Evaluates the children of a tree, and makes and evaluates their averages.

    Args:
        tree: where they lie.
        plan: what is asked for.
        evaluator: of their architecture, on their data.
        save: whether to keep averages as weights.
    """

    def __init__(self, tree: SpawnTree, plan: SpawnPlan, evaluator: Evaluator, save: bool) -> None:
        self.tree, self.plan, self.evaluator, self.save = tree, plan, evaluator, save
        self.num_evaluated = 0
        self._has_batch_norm = batch_norm.has_batch_norm(evaluator.model)
        self._common: dict[tuple[Any, ...], Table] = {}  # see `_of_all`

    def evaluate(self, spawn_step: int) -> None:
        """Evaluate all that is asked for of one spawn step, whose children are trained."""
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
            made = [self._make(spawn_step, cell) for cell in some]
            rows = results.read_averages(run.folder / results.TABLE_NAME)
            tables = self._tables(spawn_step, some, made)
            for cell, table in zip(some, tables, strict=True):
                for split in cell.splits:
                    how = {"model": cell.model, "bn": cell.bn, "split": split}
                    key = results.row_key(cell.average, cell.model, cell.bn, split)
                    rows[key] = results.average_row(
                        self.plan, spawn_step, cell.average, how, table[split]
                    )
            write_csv(
                run.folder / results.TABLE_NAME,
                results.AVERAGE_COLUMNS,
                results.sort_rows(rows.values()),
            )
            if self.save:
                for cell, weights in zip(some, made, strict=True):
                    self._save(spawn_step, run, cell, weights)

    def _tables(
        self, spawn_step: int, some: Sequence[Cell], made: Sequence[StateDict]
    ) -> list[Table]:
        """Loss and accuracy by split of every cell; what is the same is evaluated once."""
        for splits in dict.fromkeys(tuple(cell.splits) for cell in some if cell.splits):
            left = {
                self._of_all(spawn_step, cell): weights
                for cell, weights in zip(some, made, strict=True)
                if tuple(cell.splits) == splits and self._known(spawn_step, cell) is None
            }
            models = {str(position): weights for position, weights in enumerate(left.values())}
            tables = self.evaluator.table(models, list(splits)) if models else {}
            for key, table in zip(left, tables.values(), strict=True):
                self._common[key] = self._common.get(key, {}) | table
        return [self._known(spawn_step, cell) or {} for cell in some]

    def _known(self, spawn_step: int, cell: Cell) -> Table | None:
        """What has been evaluated, here or when a child was done."""
        average = cell.average
        found: Table = self._common.get(self._of_all(spawn_step, cell), {})
        if average.kind == "child" and average.child_step and self._treated(cell) == "keep":
            ((run, iteration),) = results.member_snapshots(
                self.tree, self.plan, spawn_step, average
            )
            result = run.read_result()
            if result and result["iteration"] == iteration and len(result["evaluation"]) < MANY:
                found = result["evaluation"].get(cell.model, {})
        return found if set(cell.splits) <= set(found) else None

    def _of_all(self, spawn_step: int, cell: Cell) -> tuple[Any, ...]:
        """What a child's numbers depend on: at the spawn step all children are one."""
        average = cell.average
        seeds = average.seeds if average.child_step or average.kind != "child" else ()
        return spawn_step, average.kind, average.child_step, seeds, cell.model, self._treated(cell)

    def _treated(self, cell: Cell) -> str:
        """What becomes of a network's statistics in effect."""
        alone = cell.average.kind == "child"
        if alone and (cell.bn == "average" or not self._has_batch_norm):
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
        """Write an average as weights, and beside the plain one the average optimizer state."""
        average = cell.average
        if average.kind == "child":
            return
        places = results.member_snapshots(self.tree, self.plan, spawn_step, average)
        last_run, iteration = places[-1]
        metadata = load_metadata(last_run.weights(iteration, cell.model))
        own = {"average": average.kind, "members": [list(m) for m in average.members]}
        metadata |= own | {"bn": cell.bn, "spawn_step": spawn_step}
        metadata.pop("child_seed", None)  # of the last one of them
        save_weights(
            results.weights_file(run, average, iteration, cell.model, cell.bn), weights, metadata
        )
        if cell.model == "plain":
            path = results.state_file(run, average, iteration, cell.bn)
            save_mean_state(path, [r.snapshot_state(i) for r, i in places])


def measure_distances(
    tree: SpawnTree, plan: SpawnPlan, spawn_step: int, names: Sequence[str]
) -> None:
    """Write the distances of the children of one spawn step that are not in its table yet.

    Args:
        tree: where the children lie, trained.
        plan: which of them at which child steps.
        spawn_step: an iteration of the parent.
        names: of the parameters, without running statistics.
    """
    path = tree.distance(plan.text(spawn_step))
    with Run(path.parent).lock():
        wanted = results.missing_distances(tree, plan, spawn_step)
        if not wanted:
            return
        rows = {results.pair_key(row): row for row in results.read_rows(path)}
        start, initial = (load_weights(tree.parent.weights(i))[0] for i in (spawn_step, 0))
        for child_step in sorted({int(step) for step, _, _ in wanted}):
            here = [key for key in wanted if key[0] == str(child_step)]
            children = _children(tree, plan, spawn_step, child_step, here, start)
            networks = {"initialization": initial, "parent": start, **children}
            moment = _moment(plan, spawn_step, child_step)
            for key in here:
                values = (*moment, *key[1:], *_between(networks, *key[1:], names))
                rows[key] = dict(zip(results.PAIRS, values, strict=True))
        ordered = sorted(rows.values(), key=results.pair_order)
        write_csv(path, results.PAIRS, [[row[name] for name in results.PAIRS] for row in ordered])


def _children(
    tree: SpawnTree,
    plan: SpawnPlan,
    spawn_step: int,
    child_step: int,
    wanted: Sequence[tuple[str, str, str]],
    start: StateDict,
) -> dict[str, StateDict]:
    """The children that are measured at one child step, by their seeds."""
    seeds = {seed for _, *pair in wanted for seed in pair if seed not in results.ALONE}
    if child_step == 0:
        return dict.fromkeys(seeds, start)
    runs = {seed: tree.child(plan.text(spawn_step), int(seed)) for seed in sorted(seeds)}
    iteration = spawn_step + child_step
    return {seed: load_weights(run.weights(iteration))[0] for seed, run in runs.items()}


def _between(
    networks: Mapping[str, StateDict], seed: str, other: str, names: Sequence[str]
) -> tuple[str, str]:
    """L2 distance and cosine, which there is none of to the origin."""
    if other == "origin":
        return repr(state_dicts.norm(networks[seed], names).item()), ""
    pair = networks[seed], networks[other]
    l2, cosine = state_dicts.distance(*pair, names), state_dicts.cosine(*pair, names)
    return repr(l2.item()), repr(cosine.item())


def _moment(plan: SpawnPlan, spawn_step: int, child_step: int) -> tuple[str, ...]:
    per_epoch = plan.iterations_per_epoch
    epochs = (f"{round(step / per_epoch, 6):g}" for step in (spawn_step, child_step))
    return (str(spawn_step), str(child_step), *epochs)
