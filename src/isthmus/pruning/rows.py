"""The table of a study of pruning. Imports no torch."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from isthmus.pruning.tree import Tree, sparsity_of
from isthmus.runs import Run

LEVELS = (
    "strategy",
    "rewind",
    "rewind_step",
    "seed",
    "level",
    "branch",
    "folder",
    "density",
    "model",
    "split",
    "loss",
    "accuracy",
    "best_step",
)

Row = tuple[Any, ...]


def of_tree(tree: Tree, seed: int) -> list[Row]:
    """Every number of every level and branch that is done, in order of levels.

    Args:
        tree: with them.
        seed: of the study.
    """
    return [
        row
        for level in tree.levels()
        for name in ("", *tree.branches(level))
        for row in _of_run(tree.branch(level, name) if name else tree.level(level), name, seed)
    ]


def of_masks(tree: Tree) -> list[dict[str, Any]]:
    """What the masks of all levels keep of each layer, and of all together ("total")."""
    return [
        {"level": level, "layer": row["layer"], "density": float(row["density"])}
        for level in tree.levels()
        for row in read(sparsity_of(tree.level(level)))
    ]


def read(path: Path) -> list[dict[str, str]]:
    """Rows of a table, in order; none if there is no table."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _of_run(run: Run, folder: str, seed: int) -> Iterator[Row]:
    result = run.read_result()
    assert result is not None
    said = [result[name] for name in ("strategy", "rewind", "rewind_step")]
    best = "" if result["best_iteration"] is None else result["best_iteration"]
    for model, splits in result["evaluation"].items():
        for split, cell in splits.items():
            what = (*said, seed, result["level"], result.get("branch", ""), folder)
            where = (result["density"], model, split)
            yield (*what, *where, cell["loss"], cell["accuracy"], best)
