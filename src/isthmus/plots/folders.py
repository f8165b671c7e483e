"""Finds folders of runs with tables to draw, and reads these tables."""

import math
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from isthmus.connectivity.barriers import barrier_names
from isthmus.paths import expand_glob
from isthmus.plots import options as plots_options
from isthmus.store import reading

RESULT = "result.json"
SIGNS = (".hydra", "state.pt", RESULT)  # of a run
SEED = re.compile(r"[a-z]+_[^/]+/seed_\d+")  # end of the path of a run
NOT_RUNS = {"plots", "cache", "figures", "tensorboard"}
JOBS = "jobs"  # of a sweep: its ledger, one file per job
SHOWN = 12  # names in a message


@dataclass(frozen=True)
class Folder:
    """A folder with tables.

    Args:
        kind: a key of `options.KINDS`.
        path: of it.
    """

    kind: str
    path: Path

    def tables(self) -> list[str]:
        """Names of the tables of its kind that it has."""
        names = plots_options.tables_of_kind(self.kind)
        return [name for name in names if table_files(self.path, name)]


def table_files(folder: Path, table: str) -> list[Path]:
    """The files of a table in a folder, in order: one, or several if its name has a *; or none."""
    if "*" in table:
        return sorted(folder.glob(table), key=lambda file: (len(file.parts[-2]), file))
    return [folder / table] if (folder / table).exists() else []


def find_folders(runs: str | Sequence[str]) -> list[Folder]:
    """Find folders with tables by paths and globs, and below them; without the runs of a study.

    Args:
        runs: one or several paths or globs of folders, or of tables in them. The folder of a sweep
            stands for the runs of its jobs, in their order.

    Raises:
        FileNotFoundError: one matches nothing, or nothing with tables.
    """
    by_path: dict[Path, list[Folder]] = {}
    for text in [runs] if isinstance(runs, str) else runs:
        matches = expand_glob(text)
        if not matches:
            raise FileNotFoundError(_no_match_message(text))
        roots = [root for match in matches for root in (match, *job_folders(match))]
        below = [folder for root in roots for folder in _folders_below(root)]
        if not below:
            tables = [_join_tables(kind.needed) for kind in plots_options.KINDS.values()]
            damaged = [f"; {reason}" for reason in find_damaged(text).values()]
            raise FileNotFoundError(
                f"runs={text}: matches {_join_names([str(match) for match in matches])}, and no "
                f"folder there has tables to draw: {'; '.join(tables)}{''.join(damaged[:SHOWN])}"
            )
        for folder in below:
            same = by_path.setdefault(folder.path.resolve(), [])
            same += [folder] if folder.kind not in [other.kind for other in same] else []
    return [folder for folders in by_path.values() for folder in folders]


def find_damaged(runs: str | Sequence[str]) -> dict[str, str]:
    """Errors, by file, of runs whose results cannot be read, or that have none and no table.

    Args:
        runs: as in `find_folders`.
    """
    damaged: dict[str, str] = {}
    for text in [runs] if isinstance(runs, str) else runs:
        matches = expand_glob(text)
        for root in [root for match in matches for root in (match, *job_folders(match))]:
            walked = list(_walk(root))
            with_tables = [path for path, kinds in walked if kinds]
            marked = {path for path, _ in walked if _is_run(path)}
            for path in sorted(marked):
                is_own = (path / ".hydra").exists() or not marked & set(path.parents)
                has_tables = any(other.is_relative_to(path) for other in with_tables)
                file = path / RESULT
                if is_own and (file.exists() or not has_tables):
                    try:
                        if not reading.read_json(file):
                            damaged[str(file)] = f"{file}: holds no results"
                    except FileNotFoundError:
                        damaged[str(file)] = f"{file}: is not there, nor is a table"
                    except (ValueError, OSError) as error:
                        damaged[str(file)] = str(error)
    return damaged


def job_folders(sweep: Path) -> list[Path]:
    """The folders of the jobs of a sweep, by their numbers, each once; [] for another folder.

    Those of a sweep that was moved along with its runs are found beside it.
    """
    records = [reading.read_json(file) for file in (sweep / JOBS).glob("*.json")]
    found: dict[Path, None] = {}
    for record in sorted(records, key=lambda record: int(record["job"])):
        folder = Path(str(record["folder"]))
        beside = [sweep.parent.parent.joinpath(*folder.parts[-n:]) for n in (2, 3)]
        found |= dict.fromkeys([path for path in (folder, *beside) if path.is_dir()][:1])
    return list(found)


def check_figure(figure: str, folders: Sequence[Folder]) -> None:
    """Refuse a figure that the folders have no table for.

    Raises:
        ValueError: naming their tables, and the figures of these.
    """
    present = {(folder.kind, table) for folder in folders for table in folder.tables()}

    def is_possible(row: plots_options.FigureRow) -> bool:
        return all((row.kind, table) in present for table in row.tables)

    rows = plots_options.rows_of_figure(figure)
    if figure != plots_options.REPORT and rows and not any(map(is_possible, rows)):
        needs = " or ".join(dict.fromkeys(_join_tables(row.tables) for row in rows))
        allowed = dict.fromkeys(row.typed_name for row in plots_options.FIGURES if is_possible(row))
        raise ValueError(
            f"figure={figure}: needs {needs}; what matches ({len(folders)} folders) has "
            f"{', '.join(sorted({_name(table) for _, table in present}))}, for "
            f"{', '.join([*allowed, plots_options.REPORT])}"
        )


def _folders_below(match: Path) -> Iterator[Folder]:
    for path, kinds in _walk(match):
        is_own = path == match or (path / ".hydra").exists()  # not part of a study
        yield from (Folder(kind, path) for kind in kinds if is_own or kind != "train")


def _walk(match: Path) -> Iterator[tuple[Path, list[str]]]:
    """Folders that may be runs, each with the kinds whose tables it has."""
    for path, folders, _ in os.walk(match if match.is_dir() else match.parent):
        kinds = [
            kind
            for kind, row in plots_options.KINDS.items()
            if all((Path(path) / name).exists() for name in row.needed)
        ]
        yield Path(path), kinds
        hidden = {name for name in folders if name.startswith(".")}
        is_sweep = (Path(path) / JOBS).is_dir()
        folders[:] = [] if kinds or is_sweep else sorted(set(folders) - NOT_RUNS - hidden)


def _is_run(folder: Path) -> bool:
    is_named = SEED.fullmatch("/".join(folder.absolute().parts[-2:]))
    return bool(is_named) or any((folder / name).exists() for name in SIGNS)


def _no_match_message(text: str) -> str:
    """Message that a glob matches nothing, with the content of its last existing folder."""
    parent = Path(os.path.expanduser(text))
    while not parent.is_dir() and parent != parent.parent:
        parent = parent.parent
    names = sorted(path.name for path in parent.iterdir() if not path.name.startswith("."))
    return f"runs={text}: matches nothing; {parent} has {_join_names(names)}"


def _join_names(names: Sequence[str]) -> str:
    ending = f", ... ({len(names)})" if len(names) > SHOWN else ""
    return (", ".join(names[:SHOWN]) or "nothing") + ending


def _join_tables(tables: Sequence[str]) -> str:
    return " + ".join(map(_name, tables))


def _name(table: str) -> str:
    return table.removeprefix("../")


MOMENT = ("spawn_step", "child_step", "spawn_epoch", "child_epoch")
PAIR = ("k1", "k2", "total", "k1_step", "k2_step", "total_step")
TREATED = ("align", "bn", "split")
RANKS = (("step", "value"), ("kind", "parametrization", "layer", "rank"))

# By file: required columns of numbers, then required columns of texts.
COLUMNS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "metrics.csv": (("step", "epoch", "value"), ("split", "model", "metric")),
    "averages.csv": (
        (*MOMENT, "num_models", "loss", "accuracy"),
        ("seeds", "kind", "model", "bn", "split"),
    ),
    "distance.csv": ((*MOMENT, "seed", "l2_origin"), ()),
    "lines.csv": ((*PAIR, "alpha", "loss", "accuracy"), ("child_seed", *TREATED)),
    "barriers.csv": (
        (*PAIR, "distance", "cosine"),
        ("child_seed", *TREATED, "metric"),
    ),
    "intervals.csv": (
        (*PAIR, "num_children", "mean", "low", "high"),
        (*TREATED, "metric", "measure"),
    ),
    "plane.csv": (("x", "y", "loss", "accuracy"), ("split",)),
    "plane_networks.csv": (("x", "y", "distance", "loss", "accuracy"), ("name", "split")),
    "levels.csv": (
        ("seed", "level", "density", "loss", "accuracy", "best_step"),
        ("strategy", "rewind", "rewind_step", "branch", "model", "split"),
    ),
    "sparsity.csv": (("density",), ("layer",)),
    "instability.csv": (
        ("seed", "level", "density"),
        ("strategy", "rewind", "vary", "seeds", "bn", "split", "metric"),
    ),
    "losses.csv": (("epoch", "student", "loss", "lr"), ()),
    "merges.csv": (("left", "right", "left_height", "right_height", "height", "layer"), ()),
    "counts.csv": (("height", "large", "cut", "layer"), ()),
    "matrix.csv": (("row", "column", "distance", "layer"), ()),
    "clusters.csv": (("cluster", "size", "num_students", "angle", "beta", "layer"), ()),
    "comparison.csv": (("layer", "unit", "distance_in", "distance_out"), ()),
    "excess.csv": (("layer", "found_unit", "distance_in", "length_out"), ()),
    "trials.csv": (("number", "value", "seconds"), ("state",)),
    "importance.csv": (("importance",), ("option",)),
    "coordinate_check.csv": (
        ("depth", "width", "step", "value", "slope", "theory"),
        ("parametrization", "metric"),
    ),
    "lr_transfer.csv": (("width", "lr", "value"), ("parametrization", "metric", "is_best")),
    "function_fits.csv": (("seed", "x", "target", "value"), ("parametrization",)),
    "wide_curves.csv": (("step", "value", "lowest", "highest"), ("metric", "parametrization")),
    "ranks_trace.csv": RANKS,
    "ranks_frobenius.csv": RANKS,
}


BARRIER_TABLES = ("barriers.csv", "instability.csv")


def read(path: Path, **options: Any) -> pd.DataFrame:
    """Read a table that a script wrote, checking its columns.

    Args:
        path: of the file, whose name says which columns it must have.
        options: see `store.reading.read_table`.

    Raises:
        OSError: it does not exist, or may not be read.
        ValueError: it is damaged, or lacks a column; names it.
    """
    numbers, texts = COLUMNS.get(path.name, ((), ()))
    table = reading.read_table(path, numbers, texts, **options)
    if path.name in BARRIER_TABLES:  # of an older version: without the newest definitions
        table = table.assign(**{n: math.nan for n in barrier_names() if n not in table})
    return table
