"""Tables of `prune.py`, what is missing of a study, and the summary. Imports no torch.

Pandas is imported where tables are read or summarized.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from isthmus import tables as core_tables
from isthmus.connectivity import results as connectivity_results
from isthmus.connectivity.plan import seed_pairs
from isthmus.paths import expand_glob
from isthmus.pruning.options import Instability
from isthmus.pruning.plan import PruningPlan, PruningTree, instability_table_of, sparsity_file
from isthmus.store.files import Run
from isthmus.training.metrics import METRIC_NAMES
from isthmus.vocabulary import split_to_show

STUDY = ("strategy", "rewind", "rewind_step")
LEVELS = (*STUDY, "seed", "level", "branch", "folder", "density", "model", "split") + (
    *(*METRIC_NAMES, "best_step"),
)
HOW = connectivity_results.HOW[1:]  # children are never aligned

Row = tuple[Any, ...]


def barrier_columns() -> tuple[str, ...]:
    """The columns of `instability.csv`."""
    where = (*STUDY, "seed", "level", "density", "vary", "seeds")
    return (*where, *HOW, *connectivity_results.measures())


def complete_tables(tree: PruningTree, seed: int) -> None:
    """Write `levels.csv` and `instability.csv` of a tree where they are out of date.

    Args:
        tree: with the levels; the caller holds the lock of its tables.
        seed: of the study.
    """
    runs = [run for run, _ in _list_runs(tree)]
    for run in list_instabilities(tree):  # a killed job may have left theirs unwritten
        connectivity_results.complete_tables(run.folder)
    sources = [each.result for each in (*runs, *list_instabilities(tree))]
    sources += [run.folder / "barriers.csv" for run in list_instabilities(tree)]
    written = [tree.table, tree.instability_table]
    if not runs or core_tables.are_current(tree.folder, written, sources):
        return
    digest = core_tables.digest_files(sources)
    core_tables.write(tree.table, LEVELS, collect_levels(tree, seed))
    if list_instabilities(tree):
        core_tables.write(tree.instability_table, barrier_columns(), collect_barriers(tree, seed))
    core_tables.write_stamp(tree.folder, written, digest)


def collect_levels(tree: PruningTree, seed: int) -> list[Row]:
    """Loss and accuracy of every completed level and branch, in order of levels.

    Args:
        tree: with the levels.
        seed: of the study.
    """
    return [row for run, name in _list_runs(tree) for row in _run_rows(run, name, seed)]


def _list_runs(tree: PruningTree) -> list[tuple[Run, str]]:
    """Every completed level and branch, and the name of the branch, in order of levels."""
    return [
        (tree.branch(level, name) if name else tree.level(level), name)
        for level in tree.levels()
        for name in ("", *tree.branches(level))
    ]


def list_instabilities(tree: PruningTree) -> list[Run]:
    """Completed branches with lines between children, in order of levels."""
    levels = tree.levels()
    return [tree.branch(level, name) for level in levels for name in tree.instabilities(level)]


def _run_rows(run: Run, folder: str, seed: int) -> Iterator[Row]:
    result = run.read_result()
    assert result is not None
    strategy = [result[name] for name in STUDY]
    for model, splits in result["evaluation"].items():
        for split, cell in splits.items():
            what = (*strategy, seed, result["level"], result.get("branch", ""), folder)
            where = (result["density"], model, split)
            numbers = map(cell.get, METRIC_NAMES)
            yield (*what, *where, *numbers, result["best_iteration"])


def collect_sparsity(tree: PruningTree) -> list[dict[str, Any]]:
    """Density of the masks of all levels in each layer, and over all layers ("total")."""
    return [
        {"level": level, "layer": layer, "density": float(density)}
        for level in tree.levels()
        for layer, density in core_tables.read_keys(
            sparsity_file(tree.level(level)), ("layer", "density")
        )
    ]


def collect_barriers(tree: PruningTree, seed: int) -> Iterator[Row]:
    """Every barrier between two children of every level, in order of levels.

    Args:
        tree: with the levels.
        seed: of the study.
    """
    numbers = (*HOW, *connectivity_results.measures())
    for run in list_instabilities(tree):
        result = run.read_result()
        assert result is not None
        study = [result[column] for column in STUDY]
        where = [seed, result["level"], result["density"], " ".join(result["vary"])]
        rows = core_tables.read_keys(run.folder / "barriers.csv", ("child_seed", *numbers))
        yield from ((*study, *where, *row) for row in rows)


def is_complete(tree: PruningTree, plan: PruningPlan) -> bool:
    """Whether all requested levels and branches are trained.

    Args:
        tree: of which level 0 is done.
        plan: the request in iterations.
    """
    if not all(tree.level(level).is_complete(plan.snapshots(level)) for level in plan.levels):
        return False
    branch = plan.options.branch_folder
    return branch is None or all(
        tree.branch(level, branch).is_complete(None) for level in plan.branch_levels
    )


def main_numbers(tree: PruningTree, branch: str | None = None) -> dict[str, float]:
    """Accuracy of the networks as trained, and weights left, by level and branch.

    On the test split, or the last one that was evaluated.

    Args:
        tree: with its table.
        branch: name of its folders, or None.
    """
    columns = ("level", "branch", "folder", "density", "model", "split", "accuracy")
    rows = core_tables.read_keys(tree.table, columns)
    split, numbers = split_to_show(row[5] for row in rows), dict[str, float]()
    for level, name, folder, density, model, of_split, accuracy in rows:
        if folder in ("", branch or "") and (model, of_split) == ("plain", split):
            where = f"level {level}{f' {name}' if name else ''}"
            numbers |= {f"{where} weights left": float(density)} if not name else {}
            numbers[f"{where} {split} accuracy"] = float(accuracy)
    return numbers


def find_studies(texts: Sequence[str]) -> list[Path]:
    """Tables of the studies in folders.

    Args:
        texts: folders or globs: of a study with all of its seeds, or of one seed.

    Raises:
        FileNotFoundError: one of them has no study.
    """
    studies: list[Path] = []
    for text in texts:
        tables = [table for folder in expand_glob(text) for table in _tables(folder)]
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


def summarize(
    tree: PruningTree, branch: str | None = None, lines: Instability | None = None
) -> str:
    """Summary of a study, as tables of text; stored for the next time.

    Args:
        tree: with its tables.
        branch: name of its folders, or None.
        lines: whose barriers between children are shown; None: none.
    """
    how = None
    if lines:
        how = [sorted(lines.vary), lines.bn, lines.splits, lines.seeds, lines.line.grid.text]
    key = {"branch": branch, "lines": how}
    sources = [tree.table, tree.instability_table]
    make = partial(_summarize_all, tree, branch, lines)
    return core_tables.summarize_once(tree.folder, key, sources, make)


def _summarize_all(tree: PruningTree, branch: str | None, lines: Instability | None) -> str:
    pairs = list(seed_pairs(lines.seeds)) if lines else []
    barriers = [summarize_instability(tree, lines, pairs)] if lines else []
    return "\n".join([summarize_levels(tree, branch), *barriers])


def summarize_levels(tree: PruningTree, branch: str | None = None) -> str:
    """Accuracy of every level, and of the branch of each, as a table of text.

    On the test split, or the last one that was evaluated; of the network as trained, and of the
    one of lowest validation loss.

    Args:
        tree: with its table.
        branch: name of its folders, or None.
    """
    rows = core_tables.read(tree.table, LEVELS)
    rows = rows[rows["folder"].isin(["", branch or ""])]
    split = split_to_show(rows["split"])
    rows = rows[rows["split"] == split]
    head = f"level  weights left  {split} accuracy  at lowest val loss  (iteration)  branch"
    widths = [len(word) for word in head.split("  ")]
    best = rows[rows["model"] == "best"].set_index(["level", "folder"])["accuracy"]
    lines = [head]
    for row in rows[rows["model"] == "plain"].to_dict("records"):
        at_best = best.get((row["level"], row["folder"]))
        numbers = (row["density"], row["accuracy"], at_best)
        cells = ["" if number is None else f"{float(number):.4f}" for number in numbers]
        padded = zip([row["level"], *cells, row["best_step"]], widths, strict=False)
        line = "  ".join([*(f"{cell:>{width}}" for cell, width in padded), row["branch"]])
        lines.append(line.rstrip())
    return "\n".join(lines)


def summarize_instability(tree: PruningTree, options: Instability, lines: Sequence[str]) -> str:
    """Barriers of every level, means over pairs of children, as a table of text.

    On the test split, or the last requested one.

    Args:
        tree: with its table.
        options: with the grid, as written in tables.
        lines: seeds of the pairs, such as "1-2".
    """
    split = split_to_show(options.splits)
    selected = {"vary": " ".join(sorted(options.vary)), "bn": options.bn, "split": split}
    selected |= dict(zip(("alphas", "refine"), options.line.grid.cells, strict=True))
    rows = core_tables.read(tree.instability_table, barrier_columns())
    rows = rows[rows["seeds"].isin(lines)]
    for name, value in selected.items():
        rows = rows[rows[name] == value]
    shown = [name for name in connectivity_results.measures() if name != "cosine"]
    cells = [["level", "weights left", "metric", *shown]]
    for level in dict.fromkeys(rows["level"]):
        for metric in ("error", "loss"):
            same = rows[(rows["level"] == level) & (rows["metric"] == metric)]
            if len(same) == len(lines):
                means = [_mean(same[name]) for name in shown]
                cells.append([level, f"{float(same['density'].iloc[0]):.4f}", metric, *means])
    what = f"{split}, bn={options.bn}, between children {', '.join(lines)}"
    return "\n".join([f"instability ({what})", *core_tables.align_columns(cells)])


def _mean(cells: Sequence[str]) -> str:
    """Mean of a column of a table; empty where an older version did not write it."""
    return "" if "" in set(cells) else f"{sum(map(float, cells)) / len(cells):.4f}"
