"""Tables of distances: one file a spawn step, and the one of the whole tree. Imports no torch."""

import statistics
from typing import Any

from isthmus.branching import cells
from isthmus.branching.plan import Plan
from isthmus.branching.tree import Tree

PAIRS = ("spawn_step", "child_step", "spawn_epoch", "child_epoch", "seed", "other", "l2", "cosine")
ALONE = ("origin", "initialization", "parent")  # what a child is held against, besides siblings
COLUMNS = (
    *PAIRS[:5],
    *(f"l2_{other}" for other in (*ALONE, "siblings")),
    *(f"cosine_{other}" for other in (*ALONE[1:], "siblings")),
)


def missing(tree: Tree, plan: Plan, spawn_step: int) -> list[tuple[str, str, str]]:
    """Child step, seed and what it is held against, of each distance that is not in the table.

    A pair of siblings stands there once, the smaller seed first.
    """
    step_text = plan.text(spawn_step)
    there = {key(row) for row in cells.read_rows(tree.distance(step_text))}
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
    return [key for key in wanted if key not in there]


def of_tree(tree: Tree) -> list[list[Any]]:
    """One row a child and child step, of all spawn steps that were measured.

    The distance to siblings is the mean over all of them; an only child has none.
    """
    tables = sorted(tree.folder.glob("distance/*/pairs.csv"))
    rows = [row for path in tables for row in cells.read_rows(path)]
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


def key(row: dict[str, str]) -> tuple[str, str, str]:
    return row["child_step"], row["seed"], row["other"]


def order(row: dict[str, str]) -> tuple[Any, ...]:
    other = row["other"]
    place = (ALONE.index(other), 0) if other in ALONE else (len(ALONE), int(other))
    return int(row["child_step"]), int(row["seed"]), place
