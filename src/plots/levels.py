"""All figures of one study of pruning."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from src.plots import files, instability, sparsity, tickets

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
    drawn = [*_drawn(levels, kept), *(() if pairs is None else _drawn_of_pairs(pairs))]
    return [
        path for name, figure, table in drawn for path in files.save(figure, table, folder, name)
    ]


def _drawn(levels: pd.DataFrame, kept: pd.DataFrame) -> Iterator[tuple[str, Figure, pd.DataFrame]]:
    """Name, figure and drawn table: accuracy of each model, its best step, what layers keep."""
    split = next(split for split in SPLITS if split in set(levels["split"]))
    for model in dict.fromkeys(levels["model"]):
        curves = tickets.table(levels, "accuracy", split, model)
        yield f"accuracy_{model}", tickets.draw(curves), curves
    if levels["best_step"].notna().any():
        best = tickets.table(levels, "best_step", split, "plain")
        yield "best_step", tickets.draw(best), best
    layers = sparsity.table(kept)
    yield "sparsity", sparsity.draw(layers), layers


def _drawn_of_pairs(pairs: pd.DataFrame) -> Iterator[tuple[str, Figure, pd.DataFrame]]:
    """Instability by treatment of batch norm; where it is estimated anew, "instability"."""
    for bn in dict.fromkeys(pairs["bn"]):
        there = set(pairs.loc[pairs["bn"] == bn, "split"])
        split = next(split for split in SPLITS if split in there)
        drawn = instability.table(pairs, split, bn)
        name = "instability" if bn == "reset" else f"instability_{bn}"
        yield name, instability.draw(drawn), drawn
