"""Children and their averages, evaluated where that has not been done."""

import logging
from collections.abc import Iterator, Sequence
from typing import Any

from isthmus import state_dicts
from isthmus.branching import cells, states, wanted
from isthmus.branching.plan import Average, Plan
from isthmus.branching.tree import Tree
from isthmus.branching.wanted import Cell
from isthmus.runs import Run, load_metadata, save_weights, write_csv
from isthmus.state_dicts import StateDict
from isthmus.training import batch_norm
from isthmus.training.evaluation import MANY
from isthmus.training.evaluator import Evaluator

log = logging.getLogger(__name__)

# Networks evaluated in one go through the data, and before each write of a table: fewer than are
# evaluated side by side, because there the last digits would depend on who is beside whom.
AT_ONCE = MANY - 1


Table = dict[str, dict[str, float]]  # loss and accuracy, by split


class Averages:
    """Evaluates the children of a tree, and makes and evaluates their averages.

    Args:
        tree: where they lie.
        plan: what is asked for.
        evaluator: of their architecture, on their data.
        save: whether to keep averages as weights.
    """

    def __init__(self, tree: Tree, plan: Plan, evaluator: Evaluator, save: bool) -> None:
        self.tree, self.plan, self.evaluator, self.save = tree, plan, evaluator, save
        self.num_evaluated = 0
        self._has_batch_norm = batch_norm.has_batch_norm(evaluator.model)
        self._common: dict[tuple[Any, ...], Table] = {}  # see `_of_all`

    def evaluate(self, spawn_step: int) -> None:
        """Evaluate all that is asked for of one spawn step, whose children are trained."""
        folders = wanted.by_folder(self.tree, self.plan, spawn_step)
        for run, averages in folders.items():
            if wanted.averages(self.tree, self.plan, spawn_step, run, averages, self.save):
                with run.locked():
                    self._evaluate(spawn_step, run, averages)

    def _evaluate(self, spawn_step: int, run: Run, averages: Sequence[Average]) -> None:
        left = wanted.averages(self.tree, self.plan, spawn_step, run, averages, self.save)
        folder = run.folder.relative_to(self.tree.folder)
        log.info("evaluating %d networks for %s", len(left), folder)
        self.num_evaluated += len(left)
        for first in range(0, len(left), AT_ONCE):
            some = left[first : first + AT_ONCE]
            made = [self._make(spawn_step, cell) for cell in some]
            rows = cells.read(run.folder / cells.NAME)
            tables = self._tables(spawn_step, some, made)
            for cell, table in zip(some, tables, strict=True):
                for split in cell.splits:
                    how = {"model": cell.model, "bn": cell.bn, "split": split}
                    key = cells.key(cell.average, cell.model, cell.bn, split)
                    rows[key] = cells.row(self.plan, spawn_step, cell.average, how, table[split])
            write_csv(run.folder / cells.NAME, cells.COLUMNS, cells.in_order(rows.values()))
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
            ((run, iteration),) = wanted.places(self.tree, self.plan, spawn_step, average)
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
        return self.evaluator.combined(mean, last, cell.bn)

    def _mean(self, spawn_step: int, average: Average, model: str) -> tuple[StateDict, StateDict]:
        """The mean of an average's networks, and the last one of them."""
        last: StateDict = {}

        def networks() -> Iterator[StateDict]:
            nonlocal last
            for run, iteration in wanted.places(self.tree, self.plan, spawn_step, average):
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
        places = wanted.places(self.tree, self.plan, spawn_step, average)
        last_run, iteration = places[-1]
        metadata = load_metadata(last_run.weights(iteration, cell.model))
        own = {"average": average.kind, "members": [list(m) for m in average.members]}
        metadata |= own | {"bn": cell.bn, "spawn_step": spawn_step}
        metadata.pop("child_seed", None)  # of the last one of them
        save_weights(
            wanted.weights_of(run, average, iteration, cell.model, cell.bn), weights, metadata
        )
        if cell.model == "plain":
            path = wanted.state_of(run, average, iteration, cell.bn)
            states.save_mean(path, [r.snapshot_state(i) for r, i in places])
