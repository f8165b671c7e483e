"""Tables of `spawn.py`: what they hold, what is missing, and the summary.

Imports no torch.
"""

import csv
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isthmus import steps
from isthmus.branching.plan import PlannedAverage, SpawnPlan, SpawnRequest, SpawnTree, seeds_text
from isthmus.steps import Step
from isthmus.store.files import Run
from isthmus.vocabulary import SPLITS, split_to_show

AVERAGE_COLUMNS = (
    "spawn_step",
    "child_step",
    "spawn_epoch",
    "child_epoch",
    "seeds",
    "kind",
    "model",
    "num_models",
    "bn",
    "split",
    "loss",
    "accuracy",
)
KEY = ("child_step", "kind", "model", "bn", "split")  # of a row within its folder
KINDS = ("child", "across", "back", "back_plus_one", "back_plus_three", "back_all")
TABLE_NAME = "averages.csv"

Row = dict[str, str]
Rows = dict[tuple[str, ...], Row]  # by key


def read_averages(path: Path) -> Rows:
    """Rows of the table of one folder, by key; none if there is no table."""
    return {tuple(row[name] for name in KEY): row for row in read_rows(path)}


def read_rows(path: Path) -> list[Row]:
    """Rows of a table, in order; none if there is no table."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def sort_rows(rows: Iterable[Row]) -> list[list[str]]:
    """The rows of a table as lists, in an order independent of when they were added."""
    return [[row[name] for name in AVERAGE_COLUMNS] for row in sorted(rows, key=_row_order)]


def average_row(
    plan: SpawnPlan,
    spawn_step: int,
    average: PlannedAverage,
    how: Mapping[str, Any],
    cell: Mapping[str, float],
) -> Row:
    """One row of a table of averages.

    Args:
        plan: for its epochs.
        spawn_step: an iteration of the parent.
        average: what was evaluated.
        how: model, bn and split.
        cell: loss and accuracy.
    """
    per_epoch = plan.iterations_per_epoch
    return {
        "spawn_step": str(spawn_step),
        "child_step": str(average.child_step),
        "spawn_epoch": f"{round(spawn_step / per_epoch, 6):g}",
        "child_epoch": f"{round(average.child_step / per_epoch, 6):g}",
        "seeds": seeds_text(average.seeds),
        "kind": average.kind,
        "num_models": str(len(average.members)),
        **how,
        "loss": repr(cell["loss"]),
        "accuracy": repr(cell["accuracy"]),
    }


def row_key(average: PlannedAverage, model: str, bn: str, split: str) -> tuple[str, ...]:
    """The key of one row within its folder."""
    return (str(average.child_step), average.kind, model, bn, split)


def bn_modes(average: PlannedAverage, bn: str) -> list[str]:
    """Treatments of batch-norm statistics: a child is evaluated with its own ones too.

    An average whose statistics are estimated again is compared with children treated in this way.
    """
    return list(dict.fromkeys(["keep", bn])) if average.kind == "child" else [bn]


def average_folder(tree: SpawnTree, spawn_step: str, average: PlannedAverage) -> Run:
    """The folder of an average, and of the table with its row."""
    if average.kind == "across":
        return tree.average_across(spawn_step, average.seeds)
    (seed,) = average.seeds
    return (tree.child if average.kind == "child" else tree.average_back)(spawn_step, seed)


def collect_averages(tree: SpawnTree) -> list[Row]:
    """The rows of all folders of a tree, whichever job wrote them."""
    # Children last: those of an average that another job has just written are there then.
    patterns = ("avg_across/*/seeds_*", "avg_back/*/seed_*", "children/*/seed_*")
    return [
        row
        for pattern in patterns
        for path in sorted(tree.folder.glob(f"{pattern}/{TABLE_NAME}"))
        for row in read_rows(path)
    ]


def _row_order(row: Row) -> tuple[Any, ...]:
    return (
        int(row["spawn_step"]),
        int(row["child_step"]),
        KINDS.index(row["kind"]),
        [int(seed) for seed in row["seeds"].split("-")],
        row["model"],
        row["bn"],
        SPLITS.index(row["split"]),
    )


PAIRS = ("spawn_step", "child_step", "spawn_epoch", "child_epoch", "seed", "other", "l2", "cosine")
ALONE = ("origin", "initialization", "parent")  # what a child is compared with, besides siblings
DISTANCE_COLUMNS = (
    *PAIRS[:5],
    *(f"l2_{other}" for other in (*ALONE, "siblings")),
    *(f"cosine_{other}" for other in (*ALONE[1:], "siblings")),
)


def missing_distances(
    tree: SpawnTree, plan: SpawnPlan, spawn_step: int
) -> list[tuple[str, str, str]]:
    """Child step, seed and what it is compared with, of each distance that the table lacks.

    A pair of siblings is there once, the smaller seed first.
    """
    step_text = plan.text(spawn_step)
    known = {pair_key(row) for row in read_rows(tree.distance(step_text))}
    wanted = []
    for child_step in plan.child_steps:
        seeds = [
            seed
            for seed in sorted(plan.request.child_seeds)
            if child_step == 0
            or tree.child(step_text, seed).snapshot_state(spawn_step + child_step).exists()
        ]
        for position, seed in enumerate(seeds):
            others = [*ALONE, *map(str, seeds[position + 1 :])]
            wanted += [(str(child_step), str(seed), other) for other in others]
    return [key for key in wanted if key not in known]


def collect_distances(tree: SpawnTree) -> list[list[Any]]:
    """One row per child and child step, of all spawn steps that were measured.

    The distance to siblings is the mean over all of them; an only child has none.
    """
    tables = sorted(tree.folder.glob("distance/*/pairs.csv"))
    rows = [row for path in tables for row in read_rows(path)]
    by_child: dict[tuple[str, ...], dict[str, dict[str, str]]] = {}
    for row in rows:
        moment, other = tuple(row[name] for name in PAIRS[:4]), row["other"]
        by_child.setdefault((*moment, row["seed"]), {})[other] = row
        if other not in ALONE:
            by_child.setdefault((*moment, other), {})[row["seed"]] = row
    ordered = sorted(by_child, key=lambda key: (int(key[0]), int(key[1]), int(key[4])))
    return [[*key, *_wide(by_child[key])] for key in ordered]


def _wide(others: dict[str, dict[str, str]]) -> list[str]:
    siblings = [row for other, row in others.items() if other not in ALONE]
    cells_of_row = []
    for metric, single in (("l2", ALONE), ("cosine", ALONE[1:])):
        cells_of_row += [others[other][metric] for other in single]
        values = [float(row[metric]) for row in siblings]
        cells_of_row.append(repr(statistics.fmean(values)) if values else "")
    return cells_of_row


def pair_key(row: dict[str, str]) -> tuple[str, str, str]:
    return row["child_step"], row["seed"], row["other"]


def pair_order(row: dict[str, str]) -> tuple[Any, ...]:
    other = row["other"]
    place = (ALONE.index(other), 0) if other in ALONE else (len(ALONE), int(other))
    return int(row["child_step"]), int(row["seed"]), place


LEG_COLUMNS = ("leg", "role", "seeds", "batch_size", "bn", "split", "loss", "accuracy")
LEG_KEY = ("leg", "role", "seeds", "bn", "split")


@dataclass(frozen=True)
class Legs:
    """A request for legs: parent, children from its end, their average as the next parent.

    Args:
        tree: whose parent is that of leg 0.
        num_legs: at least 1; asking for more later trains only those.
        strategy: what changes from leg to leg, or None.
        child_seeds: one child each.
        child_length: from the end of the parent on; None for the length of the parent.
        bn: treatment of the averages' batch-norm statistics: reset, average or keep.
    """

    tree: SpawnTree
    num_legs: int
    strategy: str | None
    child_seeds: list[int]
    child_length: Step | None
    bn: str

    @property
    def folder(self) -> Path:
        length = self.child_length or "full"
        seeds = seeds_text(self.child_seeds)
        return self.tree.legs(f"{self.strategy or 'plain'}_{length}_{self.bn}_seeds_{seeds}")

    @property
    def table(self) -> Path:
        return self.folder / "legs.csv"

    def parent(self, leg: int) -> Run:
        """The parent of a leg."""
        return self.tree.parent if leg == 0 else Run(self.folder / f"leg_{leg}" / "parent")

    def child(self, leg: int, seed: int) -> Run:
        """A child of a leg."""
        return Run(self.folder / f"leg_{leg}" / "children" / f"seed_{seed}")

    def average(self, leg: int) -> Run:
        """The average of a leg's children, with its optimizer state, kept as a snapshot."""
        return Run(self.folder / f"leg_{leg}" / "average")

    def length(self, iterations_per_epoch: int, parent_length: int) -> int:
        """Iterations of a child."""
        if self.child_length is None:
            return parent_length
        return steps.to_iteration(self.child_length, iterations_per_epoch)

    def measured_legs(self) -> set[int]:
        """Legs that the table has."""
        return {int(row["leg"]) for row in read_rows(self.table)}

    def are_done(self) -> bool:
        """Whether the table has all legs."""
        return set(range(self.num_legs)) <= self.measured_legs()


def leg_number(row: Mapping[str, str]) -> int:
    """Sort key of the table of legs; a leg's rows stay in their order."""
    return int(row["leg"])


def leg_rows(
    leg: int,
    member: tuple[str, str],
    batch_size: int | str,
    bn: str,
    table: Mapping[str, Mapping[str, float]],
) -> list[list[Any]]:
    """The rows of one network of a leg.

    Args:
        leg: counted from 0.
        member: its role, which is parent, child or average, and its seeds as text.
        batch_size: that it was trained with; empty for an average.
        bn: treatment of batch-norm statistics; keep: as they were trained.
        table: loss and accuracy by split.
    """
    numbers = {split: (repr(cell["loss"]), repr(cell["accuracy"])) for split, cell in table.items()}
    return [[leg, *member, batch_size, bn, split, *pair] for split, pair in numbers.items()]


@dataclass(frozen=True)
class Cell:
    """One network to evaluate: an average of one of the models that are tracked."""

    average: PlannedAverage
    model: str
    bn: str
    splits: list[str]  # that are not measured; none if only the weights are missing


def is_complete(tree: SpawnTree, plan: SpawnPlan, save: bool) -> bool:
    """Whether a tree has all that is requested, except the tables of the whole.

    Args:
        tree: of which the parent is done.
        plan: what is requested.
        save: whether averages are to be kept as weights.
    """
    if not tree.parent.is_complete(plan.kept_by_parent):
        return False
    for spawn_step in plan.spawn_steps:
        kept, end = plan.kept_by_child(spawn_step), spawn_step + plan.child_length
        for seed in plan.request.child_seeds:
            if not tree.child(plan.text(spawn_step), seed).is_complete(kept, end):
                return False
        for run, some in cells_by_folder(tree, plan, spawn_step).items():
            if missing_averages(tree, plan, spawn_step, run, some, save):
                return False
        if missing_distances(tree, plan, spawn_step):
            return False
    return True


def cells_by_folder(
    tree: SpawnTree, plan: SpawnPlan, spawn_step: int
) -> dict[Run, list[PlannedAverage]]:
    """All requested averages of one spawn step, by the folder of their table."""
    folders: dict[Run, list[PlannedAverage]] = {}
    of_children = [a for seed in plan.request.child_seeds for a in plan.child_averages(seed)]
    for average in [*of_children, *plan.across_averages()]:
        run = average_folder(tree, plan.text(spawn_step), average)
        folders.setdefault(run, []).append(average)
    return folders


def missing_averages(
    tree: SpawnTree,
    plan: SpawnPlan,
    spawn_step: int,
    run: Run,
    some: Sequence[PlannedAverage],
    save: bool,
) -> list[Cell]:
    """The requested averages that a folder lacks.

    Children that stopped early have nothing at later steps; neither have their averages.
    """
    request, rows = plan.request, read_averages(run.folder / TABLE_NAME)
    missing = []
    for average in some:
        for model in common_models(tree, plan, spawn_step, average):
            _, iteration = member_snapshots(tree, plan, spawn_step, average)[-1]
            for bn in bn_modes(average, request.bn):
                keys = {split: row_key(average, model, bn, split) for split in request.splits}
                splits = [split for split, key in keys.items() if key not in rows]
                unsaved = save and average.kind != "child"
                if unsaved and weights_file(run, average, iteration, model, bn).exists():
                    state = state_file(run, average, iteration, bn)
                    unsaved = model == "plain" and not state.exists()
                if splits or unsaved:
                    missing.append(Cell(average, model, bn, splits))
    return missing


def common_models(
    tree: SpawnTree, plan: SpawnPlan, spawn_step: int, average: PlannedAverage
) -> list[str]:
    """The requested models that all members of an average have."""
    kept = [run.kept_models(i) for run, i in member_snapshots(tree, plan, spawn_step, average)]
    common = [name for name in kept[-1] if all(name in names for names in kept)]
    models = plan.request.models
    return [name for name in common if ("plain" if name == "plain" else "averaged") in models]


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


def summarize(tree: SpawnTree, request: SpawnRequest, legs: Legs | None = None) -> list[str]:
    """Summary of a study, as tables of text.

    Args:
        tree: with its tables.
        request: whose children and batch-norm statistics are shown.
        legs: of splitting and merging, if there are any.
    """
    seeds = set(map(str, request.child_seeds))
    rows = [
        row
        for row in read_rows(tree.averages)
        if row["bn"] == request.bn and seeds.issuperset(row["seeds"].split("-"))
    ]
    return ([_branches(rows)] if rows else []) + ([_legs(legs)] if legs else [])


def _branches(rows: list[Row]) -> str:
    """Accuracy of children and averages at the last child step of each spawn step, as a table.

    On the test split, or the last one that was evaluated; of plain networks, or the first of the
    averaged models.
    """
    split = split_to_show(row["split"] for row in rows)
    models = {row["model"] for row in rows}
    model = "plain" if "plain" in models else min(models)
    rows = _last([row for row in rows if (row["split"], row["model"]) == (split, model)])
    kinds = sorted({_kind(row) for row in rows}, key=_place)
    names = [f"{kind} {number}".rstrip() for kind, number in kinds]
    head = ["spawned at", "compared at", *names]
    lines = [
        f"mean {split} accuracy of {model} children, and of averages of as many networks "
        f"(bn={rows[0]['bn']})"
    ]
    lines.append("  ".join(head))
    for spawn_step in sorted({int(row["spawn_step"]) for row in rows}):
        here = [row for row in rows if int(row["spawn_step"]) == spawn_step]
        moments = [f"{here[0][name]}ep" for name in ("spawn_epoch", "child_epoch")]
        entries = [*moments, *(_accuracy(here, kind) for kind in kinds)]
        lines.append("  ".join(f"{e:>{len(h)}}" for e, h in zip(entries, head, strict=True)))
    return "\n".join(lines)


def _legs(legs: Legs) -> str:
    """Accuracy of the parent, the children and their average in each leg, as a table."""
    rows = read_rows(legs.table)
    split = split_to_show(row["split"] for row in rows)
    lines = [f"{split} accuracy", "leg  parent  children  average"]
    for leg in range(legs.num_legs):
        means = []
        for role in ("parent", "child", "average"):
            which = (str(leg), role, split, legs.bn)
            here = [r for r in rows if (r["leg"], r["role"], r["split"], r["bn"]) == which]
            means.append(statistics.fmean(float(row["accuracy"]) for row in here))
        lines.append(f"{leg:>3}  {means[0]:>6.4f}  {means[1]:>8.4f}  {means[2]:>7.4f}")
    return "\n".join(lines)


def _last(rows: list[Row]) -> list[Row]:
    """The rows of the last child step of each spawn step."""
    last: dict[str, int] = {}
    for row in rows:
        spawn_step, child_step = row["spawn_step"], int(row["child_step"])
        last[spawn_step] = max(last.get(spawn_step, 0), child_step)
    return [row for row in rows if int(row["child_step"]) == last[row["spawn_step"]]]


def _kind(row: Row) -> tuple[str, str]:
    number = "" if row["kind"] == "child" else row["num_models"]
    return row["kind"], number


def _place(kind: tuple[str, str]) -> tuple[int, int]:
    return KINDS.index(kind[0]), int(kind[1] or 0)


def _accuracy(rows: list[Row], kind: tuple[str, str]) -> str:
    """The mean over all of a kind, such as the children of one spawn step."""
    values = [float(row["accuracy"]) for row in rows if _kind(row) == kind]
    return f"{statistics.fmean(values):.4f}" if values else ""
