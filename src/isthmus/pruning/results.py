"""Tables and summaries of `prune.py`. Imports no torch."""

import csv
import glob
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from isthmus import tables as core_tables
from isthmus.pruning.plan import PruningPlan, PruningTree, instability_beside, sparsity_file
from isthmus.store.files import Run

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


def collect_levels(tree: PruningTree, seed: int) -> list[Row]:
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


def collect_sparsity(tree: PruningTree) -> list[dict[str, Any]]:
    """What the masks of all levels keep of each layer, and of all together ("total")."""
    return [
        {"level": level, "layer": row["layer"], "density": float(row["density"])}
        for level in tree.levels()
        for row in read_rows(sparsity_file(tree.level(level)))
    ]


def read_rows(path: Path) -> list[dict[str, str]]:
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


SPLITS = ("train", "val", "test")


def summarize_levels(tree: PruningTree, branch: str | None = None) -> str:
    """Accuracy of every level, and of the branch of each, as a table of text.

    On the test split, or the last one that was evaluated; of the network as trained, and of the
    one of lowest validation loss.

    Args:
        tree: with its table.
        branch: name of its folders, or None.
    """
    found = [row for row in read_rows(tree.table) if row["folder"] in ("", branch)]
    split = max((row["split"] for row in found), key=SPLITS.index)
    found = [row for row in found if row["split"] == split]
    head = f"level  weights left  {split} accuracy  at lowest val loss  (iteration)  branch"
    widths = [len(word) for word in head.split("  ")]
    lines = [head]
    for row in found:
        if row["model"] != "plain":
            continue
        same = [r for r in found if (r["level"], r["folder"]) == (row["level"], row["folder"])]
        best = [r for r in same if r["model"] == "best"]
        cells = [
            row["level"],
            f"{float(row['density']):.4f}",
            f"{float(row['accuracy']):.4f}",
            f"{float(best[0]['accuracy']):.4f}" if best else "",
            row["best_step"],
        ]
        padded = [f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=False)]
        lines.append("  ".join([*padded, row["branch"]]).rstrip())
    return "\n".join(lines)


def find_studies(texts: Sequence[str]) -> list[Path]:
    """Tables of the studies in folders.

    Args:
        texts: folders or globs: of a study with all of its seeds, or of one seed.

    Raises:
        FileNotFoundError: one of them has no study.
    """
    found: list[Path] = []
    for text in texts:
        folders = sorted(glob.glob(text)) if glob.has_magic(text) else [text]
        tables = [table for folder in folders for table in _tables(Path(folder))]
        if not tables:
            raise FileNotFoundError(
                f"compare={text}: no levels.csv there, nor in seed_* of it; "
                f"name folders of prune.py, such as outputs/prune_*"
            )
        found += tables
    return found


def compare_studies(tree: PruningTree, others: Sequence[Path]) -> list[Path]:
    """Tables of a study of all seeds that are there, then those of others, each once."""
    own = [tree.table, *_tables(tree.folder.parent)]
    return list({path.resolve(): path for path in [*own, *others] if path.exists()}.values())


def collect_instability(tables: Sequence[Path]) -> list[Path]:
    """Tables of barriers between children, of those studies of which there are any."""
    return [path for path in map(instability_beside, tables) if path.exists()]


def _tables(folder: Path) -> list[Path]:
    return [*sorted(folder.glob("seed_*/levels.csv")), *folder.glob("levels.csv")]


def is_complete(tree: PruningTree, plan: PruningPlan) -> bool:
    """Whether all levels and branches that are asked for are trained.

    Args:
        tree: of which level 0 is done.
        plan: what is asked for.
    """
    if not all(tree.level(level).is_complete(plan.snapshots(level)) for level in plan.levels):
        return False
    branch = plan.request.branch
    return branch is None or all(
        tree.branch(level, branch).is_complete(None) for level in plan.branch_levels
    )


STUDY = ("strategy", "rewind", "rewind_step")
MEASURES = ("barrier", "barrier_frankle", "midpoint_gap", "distance", "cosine")
HOW = ("bn", "ends", "split", "alphas", "refine", "num_alphas", "metric")
BARRIER_COLUMNS = (*STUDY, "seed", "level", "density", "vary", "seeds", *HOW, *MEASURES)


def collect_barriers(tree: PruningTree, seed: int) -> Iterator[Row]:
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
            for row in read_rows(run.folder / "barriers.csv"):
                # A table of an older version does not say all of it.
                numbers = [row.get(name, "") for name in (*HOW, *MEASURES)]
                yield (*said, *whose, row["child_seed"], *numbers)


def summarize_instability(
    tree: PruningTree, asked: Mapping[str, Any], grid: tuple[str, str], lines: Sequence[str]
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
        for row in read_rows(tree.instability_table)
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
    return "\n".join([f"instability ({of})", *core_tables.align_columns(cells)])
