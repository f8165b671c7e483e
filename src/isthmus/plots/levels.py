"""All figures of one study of pruning."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from isthmus.plots import files, instability, sparsity, tickets
from isthmus.plots.files import Drawing

SPLITS = ("test", "val", "train")  # the first that was evaluated is drawn


def save(
    levels: pd.DataFrame, kept: pd.DataFrame, folder: Path, pairs: pd.DataFrame | None = None
) -> list[Path]:
    """Draw what the tables allow, and write it.

    Args:
        levels: of one study or several, see `tickets.table`.
        kept: of one study, see `sparsity.table`.
        folder: made when absent.
        pairs: of one study or several, see `instability.table`; None where there is none.

    Returns:
        The files, see `files.save`.
    """
    drawings = [*drawings_of(levels), *drawings_of_masks(kept)]
    if pairs is not None:
        drawings += drawings_of_pairs(pairs)
    return files.save_all(drawings, folder)


def drawings_of(levels: pd.DataFrame) -> Iterator[Drawing]:
    """Accuracy of each model, and the step of its lowest validation loss; see `save`."""
    split = next(split for split in SPLITS if split in set(levels["split"]))
    for model in dict.fromkeys(levels["model"]):
        curves = tickets.table(levels, "accuracy", split, model)
        yield Drawing(f"accuracy_{model}", curves, tickets.draw)
    if levels["best_step"].notna().any():
        best = tickets.table(levels, "best_step", split, "plain")
        yield Drawing("best_step", best, tickets.draw)


def drawings_of_masks(kept: pd.DataFrame) -> Iterator[Drawing]:
    """What layers keep; see `save`."""
    yield Drawing("sparsity", sparsity.table(kept), sparsity.draw)


def drawings_of_pairs(pairs: pd.DataFrame) -> Iterator[Drawing]:
    """Instability by treatment of batch norm; where it is estimated anew, "instability"."""
    for bn in dict.fromkeys(pairs["bn"]):
        there = set(pairs.loc[pairs["bn"] == bn, "split"])
        split = next(split for split in SPLITS if split in there)
        name = "instability" if bn == "reset" else f"instability_{bn}"
        yield Drawing(name, instability.table(pairs, split, bn), instability.draw)
