"""All figures of one study of branches."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from isthmus.plots import child_steps, distances, files, gain
from isthmus.plots.files import Drawing

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
    return files.save_all(drawings(averages, measured), folder)


def drawings(averages: pd.DataFrame, measured: pd.DataFrame) -> Iterator[Drawing]:
    """What the tables allow; see `save`."""
    yield from _of_averages(averages)
    if not measured.empty:
        yield Drawing("distances", distances.table(measured), distances.draw)


def _of_averages(averages: pd.DataFrame) -> Iterator[Drawing]:
    """Figures of each model and each treatment of batch norm."""
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
            yield Drawing(f"accuracy_{end}", curves, child_steps.draw)
            for kind in sorted(set(of_model.loc[of_model["bn"] == bn, "kind"])):
                gains = gain.table(averages, split, model, bn, kind)
                yield Drawing(f"gain_{kind}_{end}", gains, gain.draw)
