"""The rows of a table that a figure is about."""

from collections.abc import Iterable, Sequence

import pandas as pd

MOMENT = ["spawn_step", "child_step", "spawn_epoch", "child_epoch"]
AVERAGES = [*MOMENT, "seeds", "kind", "model", "num_models", "bn", "split", "loss", "accuracy"]


def check_columns(table: pd.DataFrame, columns: Sequence[str]) -> None:
    """Refuse a table that is not the one a figure is drawn from.

    Raises:
        ValueError: a column is missing; with those that are there.
    """
    missing = [name for name in columns if name not in table]
    if missing:
        there = ", ".join(map(str, table.columns)) or "no columns"
        raise ValueError(f"the table has no column {', '.join(missing)}; it has {there}")


def where(table: pd.DataFrame, column: str, value: object) -> pd.DataFrame:
    """The rows with one value in a column.

    Raises:
        ValueError: there are none; with the values that are there.
    """
    found = table[table[column] == value]
    if found.empty:
        there = ", ".join(map(str, sorted(table[column].unique()))) or "no rows at all"
        raise ValueError(f"nothing to draw with {column} {value}; the table has {there}")
    return found


def select(averages: pd.DataFrame, split: str, model: str, bn: str) -> pd.DataFrame:
    """Children, and averages with batch-norm statistics of one sort, evaluated on one split.

    Args:
        averages: as `spawn.py` writes it.
        split: train, val or test.
        model: plain, or an averaged model tracked in training: ema_0.999, swa, latest_5.
        bn: what became of the statistics of averages; of children too, if they were evaluated so,
            else they are those with their own.

    Returns:
        The rows, with `seeds` as text.

    Raises:
        ValueError: there are none, or the table is another one.
    """
    check_columns(averages, AVERAGES)
    found = where(where(averages, "split", split), "model", model)
    found = found.assign(seeds=found["seeds"].astype(str))  # a column of "1" is read as numbers
    alone = found["kind"] == "child"
    like = alone & (found["bn"] == bn)
    children = found[like if like.any() else alone & (found["bn"] == "keep")]
    if alone.all():
        return children
    return pd.concat([children, where(found[~alone], "bn", bn)])


def listed(seeds: Iterable[str]) -> str:
    """Several networks, each by its seeds, in order: "1 2 10", or "1-2 1-10"."""
    return " ".join(sorted(seeds, key=lambda one: [int(seed) for seed in one.split("-")]))
