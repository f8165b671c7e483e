"""All figures of one study of branches."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from src.plots import child_steps, distances, files, gain

SPLITS = ("test", "val", "train")  # the first that was evaluated is drawn


def save(averages: pd.DataFrame, measured: pd.DataFrame, folder: Path) -> list[Path]:
    """Draw what the tables allow, and write it.

    Args:
        averages: of children and averages, as `spawn.py` writes them.
        measured: distances, likewise.
        folder: made when absent.

    Returns:
        The files, see `files.save`.
    """
    drawn = [*_of_averages(averages), *_of_distances(measured)]
    return [
        path for name, figure, table in drawn for path in files.save(figure, table, folder, name)
    ]


def _of_averages(averages: pd.DataFrame) -> Iterator[tuple[str, Figure, pd.DataFrame]]:
    """Name, figure and drawn table for each model and each treatment of batch norm."""
    if averages.empty:
        return
    split = next(split for split in SPLITS if split in set(averages["split"]))
    averages = averages[averages["split"] == split]
    combined = averages[averages["kind"] != "child"]
    for model in sorted(set(averages["model"])):
        of_model = combined[combined["model"] == model]
        for bn in sorted(set(of_model["bn"])) or ["reset"]:
            end = model if bn == "reset" else f"{model}_{bn}"
            curves = child_steps.table(averages, split, "accuracy", model, bn)
            yield f"accuracy_{end}", child_steps.draw(curves), curves
            for kind in sorted(set(of_model.loc[of_model["bn"] == bn, "kind"])):
                gains = gain.table(averages, split, model, bn, kind)
                yield f"gain_{kind}_{end}", gain.draw(gains), gains


def _of_distances(measured: pd.DataFrame) -> Iterator[tuple[str, Figure, pd.DataFrame]]:
    if not measured.empty:
        table = distances.table(measured)
        yield "distances", distances.draw(table), table
