"""Tables and figures of a whole sweep, made when its last job has ended."""

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
    """What was typed for a job, by the name of a column: numbers as numbers.

    Args:
        job: as `sweeps.Sweep` writes it down.
    """
    pairs = (text.lstrip("+~").partition("=")[::2] for text in job["overrides"])
    return {NAMES.get(key, key): _number(value) for key, value in pairs}


def job_rows(jobs: Jobs, file: str) -> pd.DataFrame:
    """The rows of one table of all jobs that are done, each with what the job was given.

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
    """One row a job: what it was given, its status, and how it was evaluated at its end.

    Columns `<split>_<metric>` are those of the network as trained, and empty where it diverged: a
    network that is not there has no accuracy.
    """
    found = []
    for job in jobs:
        row = typed_values(job) | {"status": job["status"], "folder": job["folder"]}
        if job["status"] == "done":
            result = reading.read_json(Path(job["folder"]) / "result.json")
            for split, numbers in result["evaluation"]["plain"].items():
                row |= {f"{split}_{metric}": value for metric, value in numbers.items()}
        found.append(row)
    return pd.DataFrame(found)


def require_rows(table: pd.DataFrame, columns: Sequence[str], what: str) -> None:
    """Refuse a sweep that was not given what a table is about.

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
    """What tables in the folder of a sweep show."""
    for path in tables:
        table = folders.read(path, dtype={"activation": str})
        if "activation" in table:  # the networks of a sweep over none have an empty one
            table["activation"] = table["activation"].fillna("")
        yield Drawing(path.stem, table, DRAW[path.stem])


def coordinate_check(jobs: Jobs, folder: Path) -> None:
    """Slopes of outputs and their changes in the width, beside those of theory.

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
    """Loss against learning rate for each width.

    Args:
        jobs: of a sweep over parametrizations, widths, learning rates and perhaps seeds.
        folder: of the sweep.
    """
    found = job_results(jobs)
    require_rows(found, ["parametrization", "width", "lr"], "lr_transfer")
    drawn = widths.lr_transfer_table(found)
    wide = drawn.pivot(index=["parametrization", "width"], columns="lr", values="value")
    log.info("train loss\n%s", wide.round(4).to_string(na_rep="diverged"))
    for name, shift in widths.shifts(drawn).items():
        log.info("%s: the best learning rates differ by a factor of %g", name, 2**shift)
    _save(widths.draw_lr_transfer(drawn), drawn, folder, "lr_transfer")


def fits(jobs: Jobs, folder: Path) -> None:
    """Functions of one variable as networks fit them.

    Args:
        jobs: of a sweep over parametrizations and seeds.
        folder: of the sweep.
    """
    found = job_rows(jobs, "function.csv")
    require_rows(found, ["parametrization", "seed"], "function_1d")
    drawn = widths.function_fits_table(found)
    _save(widths.draw_function_fits(drawn), drawn, folder, "function_fits")


def trainings(jobs: Jobs, folder: Path) -> None:
    """Accuracies, curves, and what ranks were measured, of a sweep over parametrizations.

    Args:
        jobs: of the sweep; with activations and seeds, or without.
        folder: of the sweep.
    """
    found = job_results(jobs)
    require_rows(found, ["parametrization", "seed"], "wide")
    log.info("%s", accuracies(found).to_string(index=False))
    store_files.write_bytes(folder / "results.csv", found.to_csv(index=False).encode())
    metrics = job_rows(jobs, "metrics.csv")
    if metrics.empty:  # all have diverged
        return
    drawn = widths.wide_curves_table(metrics)
    _save(widths.draw_wide_curves(drawn), drawn, folder, "wide_curves")
    if metrics["metric"].str.startswith("rank_").any():
        for rank in widths.RANKS:
            ranks = widths.layer_ranks_table(metrics, rank)
            _save(widths.draw_layer_ranks(ranks), ranks, folder, f"ranks_{rank}")


def accuracies(found: pd.DataFrame) -> pd.DataFrame:
    """Test accuracy, loss and how many trainings diverged, by parametrization and activation.

    Args:
        found: by `results`.
    """
    keys = [key for key in ("parametrization", "activation") if key in found]
    spread = {
        "test_accuracy": ("test_accuracy", "mean"),
        "lowest": ("test_accuracy", "min"),
        "highest": ("test_accuracy", "max"),
        "train_loss": ("train_loss", "mean"),
    }
    known = {name: how for name, how in spread.items() if how[0] in found}
    counts = {"seeds": ("status", "size"), "diverged": ("status", _num_diverged)}
    return found.groupby(keys, as_index=False, sort=False).agg(**known, **counts).round(4)


def _num_diverged(status: pd.Series) -> int:
    return int((status == "diverged").sum())


def _save(figure: Figure, drawn: pd.DataFrame, folder: Path, name: str) -> None:
    for path in plots_files.save(figure, drawn, folder, name):
        if path.suffix == ".png":
            log.info("figure %s", path)
