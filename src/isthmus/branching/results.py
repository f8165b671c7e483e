"""Tables of `spawn.py`: what they hold, what is missing, and the summary. Imports no torch.

Pandas is imported where tables of the whole study are written or summarized.
"""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isthmus import steps, tables
from isthmus.branching.options import Spawn
from isthmus.branching.plan import (
    PlannedAverage,
    SpawnPlan,
    SpawnTree,
    average_folder,
    member_snapshots,
    seeds_text,
    state_file,
    weights_file,
)
from isthmus.steps import Step
from isthmus.store.files import Run
from isthmus.tables import TextRow
from isthmus.training.metrics import METRIC_NAMES
from isthmus.vocabulary import SPLITS, split_to_show

if TYPE_CHECKING:
    import pandas as pd

AVERAGE_COLUMNS = ("spawn_step", "child_step", "spawn_epoch", "child_epoch", "seeds", "kind") + (
    *("model", "num_models", "bn", "split", *METRIC_NAMES),
)
KEY = ("child_step", "kind", "model", "bn", "split")  # of a row within its folder
KINDS = ("child", "across", "back", "back_plus_one", "back_plus_three", "back_all")
TABLE_NAME = "averages.csv"


def average_row(
    plan: SpawnPlan,
    spawn_step: int,
    average: PlannedAverage,
    how: Mapping[str, Any],
    cell: Mapping[str, float],
) -> dict[str, Any]:
    """One row of a table of averages.

    Args:
        plan: for its epochs.
        spawn_step: an iteration of the parent.
        average: what was evaluated.
        how: model, bn and split.
        cell: the metrics.
    """
    return {
        "spawn_step": spawn_step,
        "child_step": average.child_step,
        "spawn_epoch": plan.epochs(spawn_step),
        "child_epoch": plan.epochs(average.child_step),
        "seeds": seeds_text(average.seeds),
        "kind": average.kind,
        "num_models": len(average.members),
        **how,
        **cell,
    }


def row_key(average: PlannedAverage, model: str, bn: str, split: str) -> tuple[str, ...]:
    """The key of one row within its folder."""
    return (str(average.child_step), average.kind, model, bn, split)


def row_order(row: TextRow) -> tuple[Any, ...]:
    """Sort key of a row of averages."""
    moment = int(row["spawn_step"]), int(row["child_step"])
    seeds = [int(seed) for seed in row["seeds"].split("-")]
    how = row["model"], row["bn"], SPLITS.index(row["split"])
    return *moment, KINDS.index(row["kind"]), seeds, *how


def bn_modes(average: PlannedAverage, bn: str) -> list[str]:
    """Treatments of batch-norm statistics: a child is evaluated with its own ones too.

    An average whose statistics are estimated again is compared with children treated in this way.
    """
    return list(dict.fromkeys(["keep", bn])) if average.kind == "child" else [bn]


def complete_tables(tree: SpawnTree) -> None:
    """Write the tables of the whole tree where they are out of date; the caller holds their lock.

    They have the rows of all folders, whichever job wrote them.
    """
    # Children last: those of an average that another job has just written are there then.
    patterns = ("avg_across/*/seeds_*", "avg_back/*/seed_*", "children/*/seed_*")
    parts = [p for each in patterns for p in sorted(tree.folder.glob(f"{each}/{TABLE_NAME}"))]
    pairs = sorted(tree.folder.glob("distance/*/pairs.csv"))
    written = [tree.averages, tree.distances]
    if tables.are_current(tree.folder, written, [*parts, *pairs]):
        return
    digest = tables.digest_files([*parts, *pairs])
    rows: Any = _read_several(parts, AVERAGE_COLUMNS).to_dict("records")
    rows.sort(key=row_order)
    tables.write(tree.averages, AVERAGE_COLUMNS, rows)
    distances = tabulate_distances(_read_several(pairs, PAIRS))
    tables.write(tree.distances, DISTANCE_COLUMNS, distances)
    tables.write_stamp(tree.folder, written, digest)


def _read_several(paths: Iterable[Path], columns: Sequence[str]) -> "pd.DataFrame":
    """The rows of several tables, one after the other."""
    import pandas

    empty = pandas.DataFrame(columns=list(columns), dtype=str)
    return pandas.concat([empty, *(tables.read(path, columns) for path in paths)])


MOMENT = ("spawn_step", "child_step", "spawn_epoch", "child_epoch")
PAIRS = (*MOMENT, "seed", "other", "l2", "cosine")
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
    known = set(tables.read_keys(tree.distance(step_text), PAIR_KEY))
    wanted = []
    for child_step in plan.child_steps:
        seeds = [
            seed
            for seed in sorted(plan.child_seeds)
            if child_step == 0
            or tree.child(step_text, seed).snapshot_state(spawn_step + child_step).exists()
        ]
        for position, seed in enumerate(seeds):
            others = [*ALONE, *map(str, seeds[position + 1 :])]
            wanted += [(str(child_step), str(seed), other) for other in others]
    return [key for key in wanted if key not in known]


def tabulate_distances(pairs: "pd.DataFrame") -> "pd.DataFrame":
    """One row per child and child step, from the rows of its pairs.

    The distance to siblings is the mean over all of them; an only child has none.
    """
    import pandas

    child = list(PAIRS[:5])
    is_alone = pairs["other"].isin(ALONE)
    couples = pairs[~is_alone]
    mirrored = couples.rename(columns={"seed": "other", "other": "seed"})
    both = pandas.concat([couples, mirrored]).astype({"l2": float, "cosine": float})
    means = both.groupby(child)[["l2", "cosine"]].agg(statistics.fmean)
    means.columns = [f"{metric}_siblings" for metric in means]
    wide: Any = pairs[is_alone].pivot(index=child, columns="other", values=["l2", "cosine"])
    wide.columns = [f"{metric}_{other}" for metric, other in wide]
    wide = wide.join(means).reset_index()
    wide = wide.reindex(columns=list(DISTANCE_COLUMNS))
    by = ["spawn_step", "child_step", "seed"]
    return wide.sort_values(by, key=lambda column: column.astype(int))


PAIR_KEY = ("child_step", "seed", "other")


def pair_order(row: TextRow) -> tuple[Any, ...]:
    """Sort key of a row of pairs."""
    other = row["other"]
    place = (ALONE.index(other), 0) if other in ALONE else (len(ALONE), int(other))
    return int(row["child_step"]), int(row["seed"]), place


LEG_COLUMNS = ("leg", "role", "seeds", "batch_size", "bn", "split", *METRIC_NAMES)
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

    @classmethod
    def from_options(cls, tree: SpawnTree, options: Spawn) -> "Legs | None":
        """The legs of the options of `spawn.py`; None without any."""
        merge = options.split_merge
        if merge.num_legs is None:
            return None
        shared = options.child_seeds, options.child_length, options.bn
        return cls(tree, merge.num_legs, merge.strategy, *shared)

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
        return {int(leg) for (leg,) in tables.read_keys(self.table, ["leg"])}

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
    table: Mapping[str, dict[str, float]],
) -> list[dict[str, Any]]:
    """The rows of one network of a leg.

    Args:
        leg: counted from 0.
        member: its role, which is parent, child or average, and its seeds as text.
        batch_size: that it was trained with; empty for an average.
        bn: treatment of batch-norm statistics; keep: as they were trained.
        table: the metrics by split.
    """
    how = dict(zip(LEG_COLUMNS, (leg, *member, batch_size, bn), strict=False))
    return [how | {"split": split} | numbers for split, numbers in table.items()]


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
        for seed in plan.child_seeds:
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
    of_children = [a for seed in plan.child_seeds for a in plan.child_averages(seed)]
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
    known = set(tables.read_keys(run.folder / TABLE_NAME, KEY))
    missing = []
    for average in some:
        for model in common_models(tree, plan, spawn_step, average):
            _, iteration = member_snapshots(tree, plan, spawn_step, average)[-1]
            for bn in bn_modes(average, plan.bn):
                keys = {split: row_key(average, model, bn, split) for split in plan.splits}
                splits = [split for split, key in keys.items() if key not in known]
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
    models = plan.models
    return [name for name in common if ("plain" if name == "plain" else "averaged") in models]


def summarize(tree: SpawnTree, options: Spawn, legs: Legs | None = None) -> str:
    """Summary of a study, as tables of text; stored for the next time.

    Args:
        tree: with its tables.
        options: whose children and batch-norm statistics are shown.
        legs: of splitting and merging, if there are any.
    """
    key: dict[str, Any] = {"seeds": options.child_seeds, "bn": options.bn}
    if legs:
        key |= {"legs": [legs.folder.name, legs.num_legs]}
    sources = [tree.averages, *([legs.table] if legs else [])]
    return tables.summarize_once(
        tree.folder, key, sources, partial(_summarize_all, tree, options, legs)
    )


def _summarize_all(tree: SpawnTree, options: Spawn, legs: Legs | None) -> str:
    rows, seeds = tables.read(tree.averages, AVERAGE_COLUMNS), set(map(str, options.child_seeds))
    rows = rows[rows["bn"] == options.bn]
    rows = rows[[seeds.issuperset(each.split("-")) for each in rows["seeds"]]]
    texts = ([] if rows.empty else [_summarize_branches(rows)]) + (
        [_summarize_legs(legs)] if legs else []
    )
    return "\n".join(texts)


def _summarize_branches(rows: "pd.DataFrame") -> str:
    """Accuracy of children and averages at the last child step of each spawn step, as a table.

    On the test split, or the last one that was evaluated; of plain networks, or the first of the
    averaged models.
    """
    split, models = split_to_show(rows["split"]), set(rows["model"])
    model, bn = "plain" if "plain" in models else min(models), rows["bn"].iloc[0]
    rows = rows[(rows["split"] == split) & (rows["model"] == model)]
    rows = rows.astype({name: int for name in ("spawn_step", "child_step", "num_models")})
    rows = rows.astype({"accuracy": float})
    rows.loc[rows["kind"] == "child", "num_models"] = 0
    last = rows.groupby("spawn_step")["child_step"].transform("max")
    rows = rows[rows["child_step"] == last]
    by = ["spawn_step", "spawn_epoch", "child_epoch"]
    means: Any = rows.pivot_table("accuracy", by, ["kind", "num_models"], aggfunc=statistics.fmean)
    kinds = sorted(means, key=lambda kind: (KINDS.index(kind[0]), kind[1]))
    names = [f"{kind} {number or ''}".rstrip() for kind, number in kinds]
    head = ["spawned at", "compared at", *names]
    lines = [
        f"mean {split} accuracy of {model} children, and of averages of as many networks (bn={bn})",
        "  ".join(head),
    ]
    for (_, *moments), values in means[kinds].iterrows():
        entries = [f"{epoch}ep" for epoch in moments]
        entries += [f"{value:.4f}" if value == value else "" for value in values]
        lines.append("  ".join(f"{e:>{len(h)}}" for e, h in zip(entries, head, strict=True)))
    return "\n".join(lines)


def _summarize_legs(legs: Legs) -> str:
    """Accuracy of the parent, the children and their average in each leg, as a table."""
    rows = tables.read(legs.table, LEG_COLUMNS).astype({"leg": int, "accuracy": float})
    split = split_to_show(rows["split"])
    rows = rows[(rows["split"] == split) & (rows["bn"] == legs.bn) & (rows["leg"] < legs.num_legs)]
    means = rows.pivot_table("accuracy", "leg", "role", aggfunc=statistics.fmean)
    lines = [f"{split} accuracy", "leg  parent  children  average"]
    for leg, row in means.iterrows():
        numbers = f"{row['parent']:>6.4f}  {row['child']:>8.4f}  {row['average']:>7.4f}"
        lines.append(f"{leg:>3}  {numbers}")
    return "\n".join(lines)
