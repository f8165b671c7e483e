"""Tables and figures of a whole sweep, made after its last job."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from isthmus.plots import files as plots_files
from isthmus.plots import folders, widths
from isthmus.plots.files import Drawing
from isthmus.store import files as store_files
from isthmus.store import reading

NAMES = {  # of columns
    "model.width": "width",
    "model.depth": "depth",
    "model.activation": "activation",
    "optimizer.lr": "lr",
    "global_seed": "seed",
}

Jobs = Sequence[dict[str, Any]]


def typed_values(job: dict[str, Any]) -> dict[str, Any]:
    """The typed options of a job, by name of a column: numbers as numbers.

    Args:
        job: an entry of the ledger of a sweep.
    """
    pairs = (text.lstrip("+~").partition("=")[::2] for text in job["overrides"])
    return {NAMES.get(key, key): _number(value) for key, value in pairs}


def job_rows(jobs: Jobs, file: str) -> pd.DataFrame:
    """The rows of one table of all finished jobs, with the typed options of each.

    Args:
        jobs: of a sweep.
        file: its name in the folder of a run, such as metrics.csv.
    """
    tables = [
        reading.read_table(Path(job["folder"]) / file).assign(**typed_values(job))
        for job in jobs
        if job["status"] == "done"
    ]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def job_results(jobs: Jobs) -> pd.DataFrame:
    """One row per job: its typed options, its status, and its final evaluation.

    Columns `<split>_<metric>` are of the network as trained, and empty if it diverged.
    """
    rows = []
    for job in jobs:
        row = typed_values(job) | {"status": job["status"], "folder": job["folder"]}
        if job["status"] == "done":
            result = reading.read_json(Path(job["folder"]) / "result.json")
            for split, numbers in result["evaluation"]["plain"].items():
                row |= {f"{split}_{metric}": value for metric, value in numbers.items()}
        rows.append(row)
    return pd.DataFrame(rows)


def require_rows(table: pd.DataFrame, columns: Sequence[str], what: str) -> None:
    """Refuse a sweep without the options that a table needs.

    Raises:
        ValueError: naming the options that are missing.
    """
    options = {column: option for option, column in NAMES.items()}
    missing = [options.get(name, name) for name in columns if name not in table]
    if missing:
        raise ValueError(f"{what}: the sweep gives its jobs no {', '.join(missing)}")


def _number(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


log = logging.getLogger(__name__)

DRAW = {  # by the name of a figure, and of the table of exactly what it shows
    "coordinate_check": widths.draw_coordinates,
    "lr_transfer": widths.draw_lr_transfer,
    "function_fits": widths.draw_function_fits,
    "wide_curves": widths.draw_wide_curves,
    **{f"ranks_{rank}": widths.draw_layer_ranks for rank in widths.RANKS},
}


def sweep_drawings(tables: Iterable[Path]) -> Iterator[Drawing]:
    """The figures of the tables in the folder of a sweep."""
    for path in tables:
        table = folders.read(path, dtype={"activation": str})
        if "activation" in table:  # empty in a sweep that does not vary it
            table["activation"] = table["activation"].fillna("")
        yield Drawing(path.stem, table, DRAW[path.stem])


def coordinate_check(jobs: Jobs, folder: Path) -> None:
    """Write table and figure of the coordinate check: slopes in the width, and those of theory.

    Args:
        jobs: of a sweep over parametrizations, widths, depths and seeds.
        folder: of the sweep.
    """
    metrics = job_rows(jobs, "metrics.csv")
    require_rows(metrics, ["parametrization", "width", "depth", "seed"], "coordinate_check")
    drawn = widths.coordinates_table(metrics)
    log.info("%s", widths.slope_summary(drawn).round(3).to_string(index=False, na_rep=""))
    _save(widths.draw_coordinates(drawn), drawn, folder, "coordinate_check")


def transfer(jobs: Jobs, folder: Path) -> None:
    """Write table and figure of learning-rate transfer: loss against learning rate by width.

    Args:
        jobs: of a sweep over parametrizations, widths, learning rates and perhaps seeds.
        folder: of the sweep.
    """
    results = job_results(jobs)
    require_rows(results, ["parametrization", "width", "lr"], "lr_transfer")
    drawn = widths.lr_transfer_table(results)
    wide = drawn.pivot(index=["parametrization", "width"], columns="lr", values="value")
    log.info("train loss\n%s", wide.round(4).to_string(na_rep="diverged"))
    for name, shift in widths.shifts(drawn).items():
        log.info("%s: the best learning rates differ by a factor of %g", name, 2**shift)
    _save(widths.draw_lr_transfer(drawn), drawn, folder, "lr_transfer")


def fits(jobs: Jobs, folder: Path) -> None:
    """Write table and figure of functions of one variable as networks fit them.

    Args:
        jobs: of a sweep over parametrizations and seeds.
        folder: of the sweep.
    """
    functions = job_rows(jobs, "function.csv")
    require_rows(functions, ["parametrization", "seed"], "function_1d")
    drawn = widths.function_fits_table(functions)
    _save(widths.draw_function_fits(drawn), drawn, folder, "function_fits")


def trainings(jobs: Jobs, folder: Path) -> None:
    """Write results, curves and measured ranks of a sweep over parametrizations.

    Args:
        jobs: of the sweep; with activations and seeds, or without.
        folder: of the sweep.
    """
    results = job_results(jobs)
    require_rows(results, ["parametrization", "seed"], "wide")
    log.info("%s", accuracies(results).to_string(index=False))
    store_files.write_bytes(folder / "results.csv", results.to_csv(index=False).encode())
    metrics = job_rows(jobs, "metrics.csv")
    if metrics.empty:  # all have diverged
        return
    drawn = widths.wide_curves_table(metrics)
    _save(widths.draw_wide_curves(drawn), drawn, folder, "wide_curves")
    if metrics["metric"].str.startswith("rank_").any():
        for rank in widths.RANKS:
            ranks = widths.layer_ranks_table(metrics, rank)
            _save(widths.draw_layer_ranks(ranks), ranks, folder, f"ranks_{rank}")


def accuracies(results: pd.DataFrame) -> pd.DataFrame:
    """Test accuracy, loss and number of diverged trainings by parametrization and activation.

    Args:
        results: by `job_results`.
    """
    keys = [key for key in ("parametrization", "activation") if key in results]
    spread = {
        "test_accuracy": ("test_accuracy", "mean"),
        "lowest": ("test_accuracy", "min"),
        "highest": ("test_accuracy", "max"),
        "train_loss": ("train_loss", "mean"),
    }
    known = {name: how for name, how in spread.items() if how[0] in results}
    counts = {"seeds": ("status", "size"), "diverged": ("status", _num_diverged)}
    return results.groupby(keys, as_index=False, sort=False).agg(**known, **counts).round(4)


def _num_diverged(status: pd.Series) -> int:
    return int((status == "diverged").sum())


def _save(figure: Figure, drawn: pd.DataFrame, folder: Path, name: str) -> None:
    for path in plots_files.save(figure, drawn, folder, name):
        if path.suffix == ".png":
            log.info("figure %s", path)
