"""Rows of result tables that a figure is about."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from isthmus import steps
from isthmus.plots import style

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


def rows_where(table: pd.DataFrame, column: str, value: object) -> pd.DataFrame:
    """The rows with one value in a column.

    Raises:
        ValueError: there are none; with the values that are there.
    """
    found = table[table[column] == value]
    if found.empty:
        there = ", ".join(map(str, sorted(table[column].unique()))) or "no rows at all"
        raise ValueError(f"nothing to draw with {column} {value}; the table has {there}")
    return found


def select_averages(averages: pd.DataFrame, split: str, model: str, bn: str) -> pd.DataFrame:
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
    found = rows_where(rows_where(averages, "split", split), "model", model)
    found = found.assign(seeds=found["seeds"].astype(str))  # a column of "1" is read as numbers
    alone = found["kind"] == "child"
    like = alone & (found["bn"] == bn)
    children = found[like if like.any() else alone & (found["bn"] == "keep")]
    if alone.all():
        return children
    return pd.concat([children, rows_where(found[~alone], "bn", bn)])


def join_seeds(seeds: Iterable[str]) -> str:
    """Several networks, each by its seeds, in order: "1 2 10", or "1-2 1-10"."""
    return " ".join(sorted(seeds, key=lambda one: [int(seed) for seed in one.split("-")]))


PAIR = ["k1", "k2", "total", "k1_step", "k2_step", "total_step"]  # empty between two files
TREATMENT = ["align", "bn"]
AS_TRAINED = "as_trained"  # in place of bn: both ends of a line, as no other point is treated
GRID = ["ends", "alphas", "refine"]  # what means are taken over has in common
SPLITS = ["train", "val", "test"]
ORDER = ["none", "weights", "activations", "reset", "average", "keep", "repair"]
AXES = {"k1": "shared epochs k1", "k2": "further epochs k2"}
UNITS = {**style.UNITS, "error": "fraction"}
DEFINITIONS = {
    "barrier": "barrier: largest excess over the chord (Entezari et al., 2022)",
    "barrier_frankle": "barrier_frankle: largest minus mean of the ends (Frankle et al., 2020)",
}
LINEAR_UP_TO = 12  # times the smallest number of epochs; beyond that the axis grows by ratios

Pair = tuple[float, float] | None  # k1 and k2 in epochs; None is the line between two files
Grid = tuple[str, ...]  # a value of each column of GRID


def list_pairs(table: pd.DataFrame) -> list[Pair]:
    """The pairs in a table, in order; the line between two files first."""
    files: list[Pair] = [None] if table["k1"].isna().any() else []
    numbers = table[["k1", "k2"]].dropna().itertuples(index=False, name=None)
    return files + sorted(set(numbers))


def rows_of_pair(table: pd.DataFrame, pair: Pair) -> pd.DataFrame:
    """The rows of one pair.

    Raises:
        ValueError: there are none; with what there is.
    """
    if pair is not None:
        return rows_where(rows_where(table, "k1", pair[0]), "k2", pair[1])
    between = table[table["k1"].isna()]
    if between.empty:
        there = ", ".join(map(pair_title, list_pairs(table))) or "no rows at all"
        raise ValueError(f"nothing to draw between two files; the table has {there}")
    return between


def rows_of_pairs(table: pd.DataFrame, wanted: list[Pair]) -> pd.DataFrame:
    """The rows of any of several pairs, pair by pair."""
    return pd.concat([rows_of_pair(table, pair) for pair in wanted], ignore_index=True)


def rows_of_treatment(table: pd.DataFrame, align: str, bn: str) -> pd.DataFrame:
    """The rows of one alignment and one treatment of batch norm.

    Raises:
        ValueError: there are none; with what there is.
    """
    return rows_where(rows_where(table, "align", align), "bn", bn)


def treatments(table: pd.DataFrame) -> list[tuple[str, str]]:
    """Alignment and treatment of batch norm of each sort of lines, the plainest first."""
    of_lines = table.loc[table["bn"] != AS_TRAINED, TREATMENT]
    sorts = set(of_lines.itertuples(index=False, name=None))
    return sorted(sorts, key=lambda sort: [[*ORDER, name].index(name) for name in sort])


def fill_columns(table: pd.DataFrame) -> pd.DataFrame:
    """A table of barriers or of means with the columns that one of an older version lacks, empty.

    Of these columns, equal texts are equal grids.
    """
    missing = {name: "" for name in ["global_seed", *GRID, "num_alphas"] if name not in table}
    table = table.assign(**missing)
    return table.assign(**{name: table[name].map(_cell) for name in GRID})


def list_grids(table: pd.DataFrame) -> list[Grid]:
    """Where lines were evaluated, and how their ends were treated: what most rows have first.

    Args:
        table: by `fill_columns`.
    """
    counts = table.groupby([*GRID, "num_alphas"]).size().reset_index(name="rows")
    counts = counts.sort_values(["rows", "num_alphas"], ascending=False, kind="stable")
    return list(counts[GRID].itertuples(index=False, name=None))


def select_grid(table: pd.DataFrame, grid: Grid | None = None) -> pd.DataFrame:
    """The rows of one grid, by default of the first of `grids`.

    Args:
        table: by `fill_columns`; one row or more.
        grid: one of `grids`.
    """
    wanted = list_grids(table)[0] if grid is None else grid
    return table[(table[GRID] == list(wanted)).all(axis=1)]


def grid_words(table: pd.DataFrame) -> str:
    """How many points the lines of a table have, in words; none of an older version."""
    if "num_alphas" not in table:
        return ""
    counts = sorted({int(number) for number in table["num_alphas"] if _cell(number)})
    return f"{style.span(counts[0], counts[-1])} alphas" if counts else ""


def _cell(value: Any) -> str:
    """A number or a text as it stands in a file; nothing where there is none."""
    if pd.isna(value):
        return ""
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def list_splits(table: pd.DataFrame) -> list[str]:
    """The splits in a table, train first."""
    return [split for split in SPLITS if split in set(table["split"])]


def pair_title(pair: Pair) -> str:
    """A pair in words: "k1 = 0ep, k2 = 5ep"; no words for a line between two files."""
    if pair is None:
        return ""
    return ", ".join(f"{k} = {style.epochs(n)}" for k, n in zip(("k1", "k2"), pair, strict=True))


def figure_title(drawn: pd.DataFrame) -> str:
    """Pair and treatment of a figure that has only one of each, in words."""
    words = [pair_title(pair) for pair in list_pairs(drawn)]
    return ", ".join(word for word in (*words, treatment_words(drawn)) if word)


def treatment_words(drawn: pd.DataFrame) -> str:
    """Alignment and batch norm of all that is drawn, in words."""
    first, of_points = drawn.iloc[0], grid_words(drawn)
    words = f"align: {first['align']}, batch norm: {first['bn']}"
    return f"{words}, {of_points}" if of_points else words


def pair_file_name(table: pd.DataFrame, pair: Pair) -> str:
    """A pair as a part of a file name: "k1_0ep_k2_2ep100it"; nothing between two files."""
    if pair is None:
        return ""
    first = rows_of_pair(table, pair).iloc[0]
    per_epoch = round(first["total_step"] / first["total"])
    texts = [steps.to_text(int(first[f"{k}_step"]), per_epoch) for k in ("k1", "k2")]
    return f"k1_{texts[0]}_k2_{texts[1]}"


def alpha_axis(axes: Axes, drawn: pd.DataFrame) -> None:
    """Name the axis of alpha, and what lies at its ends."""
    start, end = ("start", "end") if None in list_pairs(drawn) else ("main branch", "child")
    axes.set_xlabel(f"alpha (0: {start}, 1: {end})")


def epoch_axis(axes: Axes, which: str, epochs: pd.Series) -> None:
    """Make the x axis one of k1 or k2: by ratios where they span more than a decade.

    Args:
        axes: with its curves.
        which: k1 or k2.
        epochs: that were measured.
    """
    axes.set_xlabel(AXES[which])
    numbers = np.unique(epochs)
    positive = numbers[numbers > 0]
    if len(positive) > 1 and positive[-1] > LINEAR_UP_TO * positive[0]:
        axes.set_xscale("symlog", linthresh=positive[0], linscale=0.6)
        ticks = style.step_ticks(numbers, None)
        axes.set_xticks([], minor=True)
    elif len(numbers) == 1 or np.diff(numbers).min() * 10 > numbers[-1] - numbers[0]:
        ticks = list(numbers)
    else:
        return  # too close for a tick each
    axes.set_xticks(ticks, [f"{tick:.3g}" for tick in ticks])


def marker(number: int) -> dict[str, Any]:
    """Marker of the curve of that number, so that curves differ without their colours."""
    return {"marker": "osD^v<>P*X"[number % 10], "markersize": 4}
