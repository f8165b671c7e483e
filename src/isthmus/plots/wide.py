"""What is made of the sweeps over parametrizations and widths when they end: tables and figures."""

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from isthmus import runs
from isthmus.plots import (
    coordinates,
    files,
    folder_tables,
    function_fits,
    layer_ranks,
    lr_transfer,
    wide_curves,
)
from isthmus.plots.files import Drawing
from isthmus.plots.sweep_rows import Jobs, require, results, rows

log = logging.getLogger(__name__)

DRAW = {  # by the name of a figure, and of the table of exactly what it shows
    "coordinate_check": coordinates.draw,
    "lr_transfer": lr_transfer.draw,
    "function_fits": function_fits.draw,
    "wide_curves": wide_curves.draw,
    **{f"ranks_{rank}": layer_ranks.draw for rank in layer_ranks.RANKS},
}


def drawings(tables: Iterable[Path]) -> Iterator[Drawing]:
    """What tables in the folder of a sweep show."""
    for path in tables:
        table = folder_tables.read(path, dtype={"activation": str})
        if "activation" in table:  # the networks of a sweep over none have an empty one
            table["activation"] = table["activation"].fillna("")
        yield Drawing(path.stem, table, DRAW[path.stem])


def coordinate_check(jobs: Jobs, folder: Path) -> None:
    """Slopes of outputs and their changes in the width, beside those of theory.

    Args:
        jobs: of a sweep over parametrizations, widths, depths and seeds.
        folder: of the sweep.
    """
    metrics = rows(jobs, "metrics.csv")
    require(metrics, ["parametrization", "width", "depth", "seed"], "coordinate_check")
    drawn = coordinates.table(metrics)
    log.info("%s", coordinates.summary(drawn).round(3).to_string(index=False, na_rep=""))
    _save(coordinates.draw(drawn), drawn, folder, "coordinate_check")


def transfer(jobs: Jobs, folder: Path) -> None:
    """Loss against learning rate for each width.

    Args:
        jobs: of a sweep over parametrizations, widths, learning rates and perhaps seeds.
        folder: of the sweep.
    """
    found = results(jobs)
    require(found, ["parametrization", "width", "lr"], "lr_transfer")
    drawn = lr_transfer.table(found)
    wide = drawn.pivot(index=["parametrization", "width"], columns="lr", values="value")
    log.info("train loss\n%s", wide.round(4).to_string(na_rep="diverged"))
    for name, shift in lr_transfer.shifts(drawn).items():
        log.info("%s: the best learning rates differ by a factor of %g", name, 2**shift)
    _save(lr_transfer.draw(drawn), drawn, folder, "lr_transfer")


def fits(jobs: Jobs, folder: Path) -> None:
    """Functions of one variable as networks fit them.

    Args:
        jobs: of a sweep over parametrizations and seeds.
        folder: of the sweep.
    """
    found = rows(jobs, "function.csv")
    require(found, ["parametrization", "seed"], "function_1d")
    drawn = function_fits.table(found)
    _save(function_fits.draw(drawn), drawn, folder, "function_fits")


def trainings(jobs: Jobs, folder: Path) -> None:
    """Accuracies, curves, and what ranks were measured, of a sweep over parametrizations.

    Args:
        jobs: of the sweep; with activations and seeds, or without.
        folder: of the sweep.
    """
    found = results(jobs)
    require(found, ["parametrization", "seed"], "wide")
    log.info("%s", accuracies(found).to_string(index=False))
    runs.write_bytes(folder / "results.csv", found.to_csv(index=False).encode())
    metrics = rows(jobs, "metrics.csv")
    if metrics.empty:  # all have diverged
        return
    drawn = wide_curves.table(metrics)
    _save(wide_curves.draw(drawn), drawn, folder, "wide_curves")
    if metrics["metric"].str.startswith("rank_").any():
        for rank in layer_ranks.RANKS:
            ranks = layer_ranks.table(metrics, rank)
            _save(layer_ranks.draw(ranks), ranks, folder, f"ranks_{rank}")


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
    for path in files.save(figure, drawn, folder, name):
        if path.suffix == ".png":
            log.info("figure %s", path)
