"""Tables of `prune.py`, what is missing of a study, and the summaries. Imports no torch."""

import csv
import glob
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from isthmus import tables as core_tables
from isthmus.connectivity import results as connectivity_results
from isthmus.connectivity.barriers import barrier_names
from isthmus.pruning.plan import PruningPlan, PruningTree, instability_table_of, sparsity_file
from isthmus.store.files import Run
from isthmus.vocabulary import split_to_show

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
    """Loss and accuracy of every completed level and branch, in order of levels.

    Args:
        tree: with the levels.
        seed: of the study.
    """
    return [
        row
        for level in tree.levels()
        for name in ("", *tree.branches(level))
        for row in _run_rows(tree.branch(level, name) if name else tree.level(level), name, seed)
    ]


def collect_sparsity(tree: PruningTree) -> list[dict[str, Any]]:
    """Density of the masks of all levels in each layer, and over all layers ("total")."""
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


def _run_rows(run: Run, folder: str, seed: int) -> Iterator[Row]:
    result = run.read_result()
    assert result is not None
    strategy = [result[name] for name in ("strategy", "rewind", "rewind_step")]
    best = "" if result["best_iteration"] is None else result["best_iteration"]
    for model, splits in result["evaluation"].items():
        for split, cell in splits.items():
            what = (*strategy, seed, result["level"], result.get("branch", ""), folder)
            where = (result["density"], model, split)
            yield (*what, *where, cell["loss"], cell["accuracy"], best)


def summarize_levels(tree: PruningTree, branch: str | None = None) -> str:
    """Accuracy of every level, and of the branch of each, as a table of text.

    On the test split, or the last one that was evaluated; of the network as trained, and of the
    one of lowest validation loss.

    Args:
        tree: with its table.
        branch: name of its folders, or None.
    """
    rows = [row for row in read_rows(tree.table) if row["folder"] in ("", branch)]
    split = split_to_show(row["split"] for row in rows)
    rows = [row for row in rows if row["split"] == split]
    head = f"level  weights left  {split} accuracy  at lowest val loss  (iteration)  branch"
    widths = [len(word) for word in head.split("  ")]
    lines = [head]
    for row in rows:
        if row["model"] != "plain":
            continue
        same = [r for r in rows if (r["level"], r["folder"]) == (row["level"], row["folder"])]
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
    studies: list[Path] = []
    for text in texts:
        folders = sorted(glob.glob(text)) if glob.has_magic(text) else [text]
        tables = [table for folder in folders for table in _tables(Path(folder))]
        if not tables:
            raise FileNotFoundError(
                f"compare={text}: no levels.csv there, nor in seed_* of it; "
                f"name folders of prune.py, such as outputs/prune_*"
            )
        studies += tables
    return studies


def compare_studies(tree: PruningTree, others: Sequence[Path]) -> list[Path]:
    """Tables of this study, of its other seeds and of other studies, each once."""
    this_study = [tree.table, *_tables(tree.folder.parent)]
    return list({path.resolve(): path for path in [*this_study, *others] if path.exists()}.values())


def collect_instability(tables: Sequence[Path]) -> list[Path]:
    """Tables of barriers between children, of the studies that have one."""
    return [path for path in map(instability_table_of, tables) if path.exists()]


def _tables(folder: Path) -> list[Path]:
    return [*sorted(folder.glob("seed_*/levels.csv")), *folder.glob("levels.csv")]


def is_complete(tree: PruningTree, plan: PruningPlan) -> bool:
    """Whether all requested levels and branches are trained.

    Args:
        tree: of which level 0 is done.
        plan: the request in iterations.
    """
    if not all(tree.level(level).is_complete(plan.snapshots(level)) for level in plan.levels):
        return False
    branch = plan.request.branch
    return branch is None or all(
        tree.branch(level, branch).is_complete(None) for level in plan.branch_levels
    )


STUDY = ("strategy", "rewind", "rewind_step")
MEASURES = (*barrier_names(), "distance", "cosine")
HOW = ("bn", "ends", "split", "alphas", "refine", "num_alphas", "metric")
BARRIER_COLUMNS = (*STUDY, "seed", "level", "density", "vary", "seeds", *HOW, *MEASURES)


def collect_barriers(tree: PruningTree, seed: int) -> Iterator[Row]:
    """Every barrier between two children of every level, in order of levels.

    Args:
        tree: with the levels.
        seed: of the study.
    """
    for level in tree.levels():
        for name in tree.instabilities(level):
            run = tree.branch(level, name)
            result = run.read_result()
            assert result is not None
            study = [result[column] for column in STUDY]
            connectivity_results.complete_tables(run.folder)
            level_cells = [seed, level, result["density"], " ".join(result["vary"])]
            for row in read_rows(run.folder / "barriers.csv"):
                # A table of an older version lacks some columns.
                numbers = [row.get(name, "") for name in (*HOW, *MEASURES)]
                yield (*study, *level_cells, row["child_seed"], *numbers)


def summarize_instability(
    tree: PruningTree, options: Mapping[str, Any], grid: tuple[str, str], lines: Sequence[str]
) -> str:
    """Barriers of every level, means over pairs of children, as a table of text.

    On the test split, or the last requested one.

    Args:
        tree: with its table.
        options: `vary`, `bn` and `splits`.
        grid: `alphas` and `refine` of the lines, as written in tables.
        lines: seeds of the pairs, such as "1-2".
    """
    split = split_to_show(options["splits"])
    selected = {"vary": " ".join(sorted(options["vary"])), "bn": options["bn"], "split": split}
    selected |= dict(zip(("alphas", "refine"), grid, strict=True))
    rows = [
        row
        for row in read_rows(tree.instability_table)
        if row["seeds"] in lines and selected.items() <= row.items()
    ]
    shown = (*barrier_names(), "distance")
    cells = [["level", "weights left", "metric", *shown]]
    for level in dict.fromkeys(row["level"] for row in rows):
        for metric in ("error", "loss"):
            same = [row for row in rows if (row["level"], row["metric"]) == (level, metric)]
            if len(same) == len(lines):
                means = [sum(float(row[name]) for row in same) / len(same) for name in shown]
                density = f"{float(same[0]['density']):.4f}"
                cells.append([level, density, metric, *(f"{mean:.4f}" for mean in means)])
    what = f"{split}, bn={options['bn']}, between children {', '.join(lines)}"
    return "\n".join([f"instability ({what})", *core_tables.align_columns(cells)])
