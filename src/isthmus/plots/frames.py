"""Selects and labels rows of result tables for figures: splits, averages, pairs, grids."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from isthmus import steps
from isthmus.connectivity.barriers import BARRIERS
from isthmus.plots import style
from isthmus.vocabulary import ALIGNMENTS, LINE_BATCH_NORM_MODES, SPLITS

MOMENT = ["spawn_step", "child_step", "spawn_epoch", "child_epoch"]
AVERAGES = [*MOMENT, "seeds", "kind", "model", "num_models", "bn", "split", "loss", "accuracy"]


def check_columns(table: pd.DataFrame, columns: Sequence[str]) -> None:
    """Refuse a table without the columns that a figure needs.

    Raises:
        ValueError: a column is missing; names the existing ones.
    """
    missing = [name for name in columns if name not in table]
    if missing:
        present = ", ".join(map(str, table.columns)) or "no columns"
        raise ValueError(f"the table has no column {', '.join(missing)}; it has {present}")


def select_columns(table: pd.DataFrame, columns: Sequence[str], name: str) -> pd.DataFrame:
    """The columns that a figure shows.

    Args:
        table: with these columns, and perhaps others.
        columns: that are shown.
        name: of the table, in errors.

    Raises:
        ValueError: the table has other columns, or no rows.
    """
    check_columns(table, columns)
    if table.empty:
        raise ValueError(f"nothing to draw: the table of {name} has no rows")
    return table[list(columns)]


def rows_where(table: pd.DataFrame, column: str, value: object) -> pd.DataFrame:
    """The rows with one value in a column.

    Raises:
        ValueError: there are none; names the existing values.
    """
    rows = table[table[column] == value]
    if rows.empty:
        values = ", ".join(map(str, sorted(table[column].unique()))) or "no rows at all"
        raise ValueError(f"nothing to draw with {column} {value}; the table has {values}")
    return rows


def select_averages(averages: pd.DataFrame, split: str, model: str, bn: str) -> pd.DataFrame:
    """The rows of children, and of averages with one kind of batch-norm statistics, of one split.

    Args:
        averages: as `spawn.py` writes it.
        split: train, val or test.
        model: plain, or an averaged model tracked in training: ema_0.999, swa, latest_5.
        bn: batch-norm statistics of averages; of children, too, if they were evaluated so, else
            they have their own.

    Returns:
        The rows, with `seeds` as text.

    Raises:
        ValueError: there are none, or the table has other columns.
    """
    check_columns(averages, AVERAGES)
    rows = rows_where(rows_where(averages, "split", split), "model", model)
    rows = rows.assign(seeds=rows["seeds"].astype(str))  # a column of "1" is read as numbers
    is_child = rows["kind"] == "child"
    has_bn = is_child & (rows["bn"] == bn)
    children = rows[has_bn if has_bn.any() else is_child & (rows["bn"] == "keep")]
    if is_child.all():
        return children
    return pd.concat([children, rows_where(rows[~is_child], "bn", bn)])


def join_seeds(seeds: Iterable[str]) -> str:
    """Text of several networks, each by its seeds, in order: "1 2 10", or "1-2 1-10"."""
    return " ".join(sorted(seeds, key=lambda one: [int(seed) for seed in one.split("-")]))


PAIR = ["k1", "k2", "total", "k1_step", "k2_step", "total_step"]  # empty between two files
TREATMENT = ["align", "bn"]
AS_TRAINED = "as_trained"  # in place of bn: both ends of a line, as no other point is treated
GRID = ["ends", "alphas", "refine"]  # equal for all lines that a mean is over
ORDER = [*ALIGNMENTS, *LINE_BATCH_NORM_MODES]
AXES = {"k1": "shared epochs k1", "k2": "further epochs k2"}
UNITS = {**style.UNITS, "error": "fraction"}
DEFINITIONS = {each.name: each.label for each in BARRIERS if each.caption}
LINEAR_UP_TO = 12  # times the smallest number of epochs; beyond it the axis is logarithmic

Pair = tuple[float, float] | None  # k1 and k2 in epochs; None is the line between two files
Grid = tuple[str, ...]  # a value of each column of GRID


@dataclass(frozen=True)
class Selection:
    """Lines of one kind, for figures of barriers.

    Args:
        split: train, val or test.
        align: none, weights or activations.
        bn: batch-norm statistics: reset, average, keep or repair.
        grid: one of `list_grids`; None for the first.
    """

    split: str = "test"
    align: str = "none"
    bn: str = "reset"
    grid: Grid | None = None


def list_pairs(table: pd.DataFrame) -> list[Pair]:
    """The pairs in a table, in order; the line between two files first."""
    files: list[Pair] = [None] if table["k1"].isna().any() else []
    numbers = table[["k1", "k2"]].dropna().itertuples(index=False, name=None)
    return files + sorted(set(numbers))


def rows_of_pair(table: pd.DataFrame, pair: Pair) -> pd.DataFrame:
    """The rows of one pair.

    Raises:
        ValueError: there are none; names the existing pairs.
    """
    if pair is not None:
        return rows_where(rows_where(table, "k1", pair[0]), "k2", pair[1])
    rows = table[table["k1"].isna()]
    if rows.empty:
        pairs = ", ".join(map(pair_title, list_pairs(table))) or "no rows at all"
        raise ValueError(f"nothing to draw between two files; the table has {pairs}")
    return rows


def rows_of_pairs(table: pd.DataFrame, pairs: list[Pair]) -> pd.DataFrame:
    """The rows of several pairs, pair by pair."""
    return pd.concat([rows_of_pair(table, pair) for pair in pairs], ignore_index=True)


def rows_of_treatment(table: pd.DataFrame, align: str, bn: str) -> pd.DataFrame:
    """The rows of one alignment and one treatment of batch norm.

    Raises:
        ValueError: there are none; with what there is.
    """
    return rows_where(rows_where(table, "align", align), "bn", bn)


def treatments(table: pd.DataFrame) -> list[tuple[str, str]]:
    """Each combination of alignment and batch-norm treatment in a table, the plainest first."""
    of_lines = table.loc[table["bn"] != AS_TRAINED, TREATMENT]
    sorts = set(of_lines.itertuples(index=False, name=None))
    return sorted(sorts, key=lambda sort: [[*ORDER, name].index(name) for name in sort])


def fill_columns(table: pd.DataFrame) -> pd.DataFrame:
    """Add the columns of the grid that a table of an older version lacks, empty.

    Equal texts in these columns mean equal grids.
    """
    missing = {name: "" for name in ["global_seed", *GRID, "num_alphas"] if name not in table}
    table = table.assign(**missing)
    return table.assign(**{name: table[name].map(_cell) for name in GRID})


def list_grids(table: pd.DataFrame) -> list[Grid]:
    """The grids of a table (points of lines and treatment of their ends), most frequent first.

    Args:
        table: by `fill_columns`.
    """
    counts = table.groupby([*GRID, "num_alphas"]).size().reset_index(name="rows")
    counts = counts.sort_values(["rows", "num_alphas"], ascending=False, kind="stable")
    return list(counts[GRID].itertuples(index=False, name=None))


def select_grid(table: pd.DataFrame, grid: Grid | None = None) -> pd.DataFrame:
    """The rows of one grid, by default of the first of `list_grids`.

    Args:
        table: by `fill_columns`; one row or more.
        grid: one of `list_grids`.
    """
    selected = list_grids(table)[0] if grid is None else grid
    return table[(table[GRID] == list(selected)).all(axis=1)]


def grid_label(table: pd.DataFrame) -> str:
    """Text with the number of points of the lines of a table; empty for an older version."""
    if "num_alphas" not in table:
        return ""
    counts = sorted({int(number) for number in table["num_alphas"] if _cell(number)})
    return f"{style.span(counts[0], counts[-1])} alphas" if counts else ""


def _cell(value: Any) -> str:
    """A number or a text as written in a file; empty for a missing value."""
    if pd.isna(value):
        return ""
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def list_splits(table: pd.DataFrame) -> list[str]:
    """The splits in a table, train first."""
    return [split for split in SPLITS if split in set(table["split"])]


def pair_title(pair: Pair) -> str:
    """Title of a pair: "k1 = 0ep, k2 = 5ep"; empty for a line between two files."""
    if pair is None:
        return ""
    return ", ".join(f"{k} = {style.epochs(n)}" for k, n in zip(("k1", "k2"), pair, strict=True))


def figure_title(drawn: pd.DataFrame) -> str:
    """Title of a figure with one pair and one treatment."""
    titles = [pair_title(pair) for pair in list_pairs(drawn)]
    return ", ".join(word for word in (*titles, treatment_label(drawn)) if word)


def treatment_label(drawn: pd.DataFrame) -> str:
    """Text of the alignment and batch norm of a figure."""
    first, of_points = drawn.iloc[0], grid_label(drawn)
    label = f"align: {first['align']}, batch norm: {first['bn']}"
    return f"{label}, {of_points}" if of_points else label


def pair_file_name(table: pd.DataFrame, pair: Pair) -> str:
    """A pair as part of a file name: "k1_0ep_k2_2ep100it"; empty between two files."""
    if pair is None:
        return ""
    first = rows_of_pair(table, pair).iloc[0]
    per_epoch = round(first["total_step"] / first["total"])
    texts = [steps.to_text(int(first[f"{k}_step"]), per_epoch) for k in ("k1", "k2")]
    return f"k1_{texts[0]}_k2_{texts[1]}"


def alpha_axis(axes: Axes, drawn: pd.DataFrame) -> None:
    """Label the axis of alpha, and its ends."""
    start, end = ("start", "end") if None in list_pairs(drawn) else ("main branch", "child")
    axes.set_xlabel(f"alpha (0: {start}, 1: {end})")


def epoch_axis(axes: Axes, which: str, epochs: pd.Series) -> None:
    """Set the x axis to k1 or k2: logarithmic if they span more than a decade.

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
        return  # too close for one tick each
    axes.set_xticks(ticks, [f"{tick:.3g}" for tick in ticks])


def marker(number: int) -> dict[str, Any]:
    """Marker of the curve with a number, so that curves differ without their colours."""
    return {"marker": "osD^v<>P*X"[number % 10], "markersize": 4}
