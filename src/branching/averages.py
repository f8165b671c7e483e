"""Children and their averages, evaluated where that has not been done."""

import logging
from collections.abc import Iterator, Mapping, Sequence

from src import state_dicts
from src.branching import cells, states, wanted
from src.branching.plan import Average, Plan
from src.branching.tree import Tree
from src.branching.wanted import Cell
from src.runs import Run, load_weights, save_weights, write_csv
from src.state_dicts import StateDict
from src.training.evaluation import MANY
from src.training.evaluator import Evaluator

log = logging.getLogger(__name__)

# Networks evaluated in one go through the data, and before each write of a table: fewer than are
# evaluated side by side, because there the last digits would depend on who is beside whom.
AT_ONCE = MANY - 1


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
        # By spawn step and model: children have it in common.
        self._at_spawn: dict[tuple[int, str], dict[str, dict[str, float]]] = {}

    def evaluate(self, spawn_step: int) -> None:
        """Evaluate all that is asked for of one spawn step, whose children are trained."""
        folders = wanted.by_folder(self.tree, self.plan, spawn_step)
        for run, averages in folders.items():
            if wanted.averages(self.tree, self.plan, spawn_step, run, averages, self.save):
                with run.locked():
                    self._evaluate(spawn_step, run, averages)

    def _evaluate(self, spawn_step: int, run: Run, averages: Sequence[Average]) -> None:
        cells_left = wanted.averages(self.tree, self.plan, spawn_step, run, averages, self.save)
        path, bn = run.folder / cells.NAME, self.plan.request.bn
        log.info(
            "evaluating %d networks for %s",
            len(cells_left),
            run.folder.relative_to(self.tree.folder),
        )
        for first in range(0, len(cells_left), AT_ONCE):
            some = cells_left[first : first + AT_ONCE]
            made = {str(i): self._make(spawn_step, cell) for i, cell in enumerate(some)}
            rows = cells.read(path)
            for name, table in self._tables(spawn_step, some, made):
                cell = some[int(name)]
                for split in cell.splits:
                    key = cells.key(cell.average, cell.model, bn, split)
                    how = {"model": cell.model, "bn": key[3], "split": split}
                    rows[key] = cells.row(self.plan, spawn_step, cell.average, how, table[split])
            write_csv(path, cells.COLUMNS, cells.in_order(rows.values()))
            if self.save:
                for name, weights in made.items():
                    self._save(spawn_step, run, some[int(name)], weights)

    def _tables(
        self, spawn_step: int, some: Sequence[Cell], made: Mapping[str, StateDict]
    ) -> Iterator[tuple[str, dict[str, dict[str, float]]]]:
        """Loss and accuracy by split of every cell, by its position as text."""
        left: dict[tuple[str, ...], dict[str, StateDict]] = {}
        for name, weights in made.items():
            cell = some[int(name)]
            known = self._known(spawn_step, cell)
            if known is not None:
                yield name, known
            elif cell.splits:
                left.setdefault(tuple(cell.splits), {})[name] = weights
        for splits, models in left.items():
            self.num_evaluated += len(models)
            for name, table in self.evaluator.table(models, list(splits)).items():
                if some[int(name)].average.child_step == 0:
                    self._at_spawn[spawn_step, some[int(name)].model] = table
                yield name, table

    def _known(self, spawn_step: int, cell: Cell) -> dict[str, dict[str, float]] | None:
        """What was evaluated when a child was done, or as another child of the same beginning."""
        average = cell.average
        if average.kind != "child":
            return None
        ((run, iteration),) = wanted.places(self.tree, self.plan, spawn_step, average)
        result = run.read_result()
        found: dict[str, dict[str, float]] = {}
        if average.child_step == 0:
            found = self._at_spawn.get((spawn_step, cell.model), {})
        elif result is not None and result["iteration"] == iteration:
            evaluation = result["evaluation"]
            found = evaluation.get(cell.model, {}) if len(evaluation) < MANY else {}
        return found if set(cell.splits) <= set(found) else None

    def _make(self, spawn_step: int, cell: Cell) -> StateDict:
        """The weights of one cell, on the evaluator's device."""
        average = cell.average
        mean, last = self._mean(spawn_step, average, cell.model)
        return self.evaluator.combined(mean, last, cells.bn_of(average, self.plan.request.bn))

    def _mean(self, spawn_step: int, average: Average, model: str) -> tuple[StateDict, StateDict]:
        """The mean of an average's networks, and the last one of them."""
        last: StateDict = {}

        def networks() -> Iterator[StateDict]:
            nonlocal last
            for run, iteration in wanted.places(self.tree, self.plan, spawn_step, average):
                last, _ = load_weights(run.weights(iteration, model))
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
        _, metadata = load_weights(last_run.weights(iteration, cell.model))
        own = {"average": average.kind, "members": [list(m) for m in average.members]}
        metadata |= own | {"bn": self.plan.request.bn, "spawn_step": spawn_step}
        metadata.pop("child_seed", None)
        save_weights(wanted.weights_of(run, average, iteration, cell.model), weights, metadata)
        if cell.model == "plain":
            path = wanted.state_of(run, average, iteration)
            states.save_mean(path, [r.snapshot_state(i) for r, i in places])
