"""Barriers between the children of levels: the table of a tree, and its summary. Imports no torch.

The barriers themselves are read from the tables that lie where the lines were measured.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from isthmus import tables
from isthmus.pruning import rows
from isthmus.pruning.rows import Row
from isthmus.pruning.tree import Tree

STUDY = ("strategy", "rewind", "rewind_step")
MEASURES = ("barrier", "barrier_frankle", "midpoint_gap", "distance", "cosine")
HOW = ("bn", "ends", "split", "alphas", "refine", "num_alphas", "metric")
COLUMNS = (*STUDY, "seed", "level", "density", "vary", "seeds", *HOW, *MEASURES)
SPLITS = ("train", "val", "test")


def of_tree(tree: Tree, seed: int) -> Iterator[Row]:
    """Every barrier between two children of every level, in order of levels.

    Args:
        tree: with them.
        seed: of the study.
    """
    for level in tree.levels():
        for name in tree.instabilities(level):
            run = tree.branch(level, name)
            result = run.read_result()
            assert result is not None
            said = [result[column] for column in STUDY]
            whose = [seed, level, result["density"], " ".join(result["vary"])]
            for row in rows.read(run.folder / "barriers.csv"):
                # A table of an older version does not say all of it.
                numbers = [row.get(name, "") for name in (*HOW, *MEASURES)]
                yield (*said, *whose, row["child_seed"], *numbers)


def summary(
    tree: Tree, asked: Mapping[str, Any], grid: tuple[str, str], lines: Sequence[str]
) -> str:
    """Barriers of every level, means over pairs of children, as a table of text.

    On the test split, or the last one that was asked for.

    Args:
        tree: with its table.
        asked: `vary`, `bn` and `splits`.
        grid: `alphas` and `refine` of the lines, as they stand in tables.
        lines: seeds of the pairs, such as "1-2".
    """
    split = max(asked["splits"], key=SPLITS.index)
    meant = {"vary": " ".join(sorted(asked["vary"])), "bn": asked["bn"], "split": split}
    meant |= dict(zip(("alphas", "refine"), grid, strict=True))
    found = [
        row
        for row in rows.read(tree.instability_table)
        if row["seeds"] in lines and meant.items() <= row.items()
    ]
    shown = MEASURES[:4]
    cells = [["level", "weights left", "metric", *shown]]
    for level in dict.fromkeys(row["level"] for row in found):
        for metric in ("error", "loss"):
            same = [row for row in found if (row["level"], row["metric"]) == (level, metric)]
            if len(same) == len(lines):
                means = [sum(float(row[name]) for row in same) / len(same) for name in shown]
                density = f"{float(same[0]['density']):.4f}"
                cells.append([level, density, metric, *(f"{mean:.4f}" for mean in means)])
    of = f"{split}, bn={asked['bn']}, between children {', '.join(lines)}"
    return "\n".join([f"instability ({of})", *tables.columns(cells)])
