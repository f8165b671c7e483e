"""Tables of evaluated averages: one file a folder, and the one of the whole tree."""

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from isthmus.branching.plan import Average, Plan
from isthmus.branching.tree import Tree, text
from isthmus.runs import Run

COLUMNS = (
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
SPLITS = ("train", "val", "test")
NAME = "averages.csv"

Row = dict[str, str]
Rows = dict[tuple[str, ...], Row]  # by key


def read(path: Path) -> Rows:
    """Rows of the table of one folder, by key; none if there is no table."""
    return {tuple(row[name] for name in KEY): row for row in read_rows(path)}


def read_rows(path: Path) -> list[Row]:
    """Rows of a table, in order; none if there is no table."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def in_order(rows: Iterable[Row]) -> list[list[str]]:
    """What a table holds, in an order that does not depend on when its rows were added."""
    return [[row[name] for name in COLUMNS] for row in sorted(rows, key=_order)]


def row(
    plan: Plan, spawn_step: int, average: Average, how: Mapping[str, Any], cell: Mapping[str, float]
) -> Row:
    """One row.

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
        "seeds": text(average.seeds),
        "kind": average.kind,
        "num_models": str(len(average.members)),
        **how,
        "loss": repr(cell["loss"]),
        "accuracy": repr(cell["accuracy"]),
    }


def key(average: Average, model: str, bn: str, split: str) -> tuple[str, ...]:
    """Of one row within its folder."""
    return (str(average.child_step), average.kind, model, bn, split)


def treatments(average: Average, bn: str) -> list[str]:
    """What becomes of batch-norm statistics: a child is evaluated with its own ones too.

    An average with statistics that were estimated anew is to be held against children with such.
    """
    return list(dict.fromkeys(["keep", bn])) if average.kind == "child" else [bn]


def folder(tree: Tree, spawn_step: str, average: Average) -> Run:
    """Where an average lies, and its row in a table."""
    if average.kind == "across":
        return tree.across(spawn_step, average.seeds)
    (seed,) = average.seeds
    return (tree.child if average.kind == "child" else tree.back)(spawn_step, seed)


def of_tree(tree: Tree) -> list[Row]:
    """The rows of all folders of a tree, whoever asked for them."""
    # Children last: those of an average that another job has just written are there then.
    patterns = ("avg_across/*/seeds_*", "avg_back/*/seed_*", "children/*/seed_*")
    return [
        row
        for pattern in patterns
        for path in sorted(tree.folder.glob(f"{pattern}/{NAME}"))
        for row in read_rows(path)
    ]


def _order(row: Row) -> tuple[Any, ...]:
    return (
        int(row["spawn_step"]),
        int(row["child_step"]),
        KINDS.index(row["kind"]),
        [int(seed) for seed in row["seeds"].split("-")],
        row["model"],
        row["bn"],
        SPLITS.index(row["split"]),
    )
