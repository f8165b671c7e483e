"""Barriers and distances of pairs: means over child seeds with intervals, and each child's."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import ScaledTranslation, Transform

from src.plots import curves, pairs, rows, style

SORT = ["align", "bn", "split", "metric"]
INTERVALS = [*pairs.PAIR, *SORT, "num_children", "measure", "mean", "low", "high"]
COLUMNS = [*pairs.PAIR, *SORT, "measure", "curve", "seeds", "value", "low", "high"]
METRICS = ("loss", "error")
INTERVAL = "mean of the children, 95 % interval"  # Student's t over child seeds
LEGEND_COLUMNS = 4
APART = 3.0  # points between curves whose intervals are side by side at one x
ROOM = 14  # points that all of them may take


def table(
    intervals: pd.DataFrame,
    barriers: pd.DataFrame,
    measures: list[str],
    split: str,
    align: str,
    bn: str,
) -> pd.DataFrame:
    """Means over children with intervals, and where there are several children, each of them.

    Args:
        intervals: as `interpolate.py` writes it.
        barriers: likewise; each child's own.
        measures: of barrier, barrier_frankle, midpoint_gap, distance, cosine.
        split: train, val or test.
        align: none, weights or activations.
        bn: what became of the batch-norm statistics: reset, average, keep or repair.

    Returns:
        A row a point: `value`, of all children in `seeds`, and where their mean lies with 95 %
        confidence; no numbers there of a single child.

    Raises:
        ValueError: there is nothing to draw, with what there is; a mean has no
            children; or a table is another one.
    """
    rows.check_columns(intervals, INTERVALS)
    rows.check_columns(barriers, [*pairs.PAIR, *SORT, "child_seed", *measures])
    each = select(barriers, split, align, bn)
    each = each.assign(seeds=[f"{int(seed)}" for seed in each["child_seed"]])
    means = select(intervals, split, align, bn).rename(columns={"mean": "value"})
    means = with_seeds(means[means["measure"].isin(measures)], each)
    alone = means["num_children"] == 1
    means = means.assign(curve=alone.map({True: curves.ONLY_CHILD, False: curves.MEAN_CHILD}))
    each = each.merge(means.loc[~alone, ["k1", "k2"]].drop_duplicates(), on=["k1", "k2"])
    each = each.melt([*pairs.PAIR, *SORT, "seeds"], measures, "measure")
    each = each.assign(curve=curves.EACH_CHILD, low=np.nan, high=np.nan)
    drawn = pd.concat([part[COLUMNS] for part in (each, means) if len(part)])
    order, ascending = ["metric", "measure", "k1", "k2", "curve"], [False, *4 * [True]]
    return drawn.sort_values(order, ascending=ascending, kind="stable", ignore_index=True)


def with_seeds(means: pd.DataFrame, each: pd.DataFrame) -> pd.DataFrame:
    """The means with the children that they are of.

    Raises:
        ValueError: there are none of some mean.
    """
    of_pairs = each.groupby(["k1", "k2"])["seeds"].agg(lambda seeds: rows.listed(set(seeds)))
    means = means.merge(of_pairs.reset_index(), on=["k1", "k2"], how="left")
    lonely = means[means["seeds"].isna()]
    if len(lonely):
        pair = pairs.title(pairs.found(lonely)[0])
        raise ValueError(f"the table of barriers has no child of {pair}, but there is its mean")
    return means


def select(table: pd.DataFrame, split: str, align: str, bn: str) -> pd.DataFrame:
    """The rows of pairs, of one split and one treatment.

    Raises:
        ValueError: there are none; with what there is.
    """
    found = rows.where(pairs.treated(table, align, bn), "split", split)
    found = found[found["k1"].notna()]
    if found.empty:
        raise ValueError("nothing to draw: the table has a line between two files, but no pairs")
    return found


def draw_curves(axes: Axes, panel: pd.DataFrame, along: str, by: str, numbers: list[float]) -> None:
    """A curve of one measure for each value of `by`, its bars the interval, its children dots.

    Curves with intervals are moved sideways by little, so that these do not hide each other.

    Args:
        axes: of the panel.
        panel: rows of one measure.
        along: the x axis: k1 or k2.
        by: the other one.
        numbers: all values of `by` in the figure, in order.
    """
    apart = min(APART, ROOM / len(numbers)) if panel["low"].notna().any() else 0
    for place, (colour, number) in enumerate(
        zip(style.sequential(len(numbers)), numbers, strict=True)
    ):
        points = panel[panel[by] == number].sort_values(along)
        aside = apart * (place - (len(numbers) - 1) / 2) / 72  # inches
        moved = axes.transData + ScaledTranslation(aside, 0, axes.figure.dpi_scale_trans)
        each, means = points[points["curve"] == curves.EACH_CHILD], curves.main(points)
        dots: dict[str, Any] = {"alpha": 0.5, "marker": ".", "markersize": 4, "linestyle": "None"}
        axes.plot(each[along], each["value"], color=colour, **dots, transform=moved)
        look: dict[str, Any] = {**pairs.dash(place), "label": f"{by} = {style.epochs(number)}"}
        axes.plot(means[along], means["value"], color=colour, **look, transform=moved)
        draw_bars(axes, means.dropna(subset=["low", "high"]), along, colour, moved)
    for column in ("value", "low", "high"):  # what is moved sideways does not set limits by itself
        finite = panel[np.isfinite(panel[column])]
        axes.update_datalim(finite[[along, column]].to_numpy())
    axes.margins(x=0.08)


def draw_bars(axes: Axes, means: pd.DataFrame, along: str, colour: Any, moved: Transform) -> None:
    """The intervals of one curve."""
    yerr = [means["value"] - means["low"], means["high"] - means["value"]]
    look: dict[str, Any] = {"fmt": "none", "ecolor": colour, "elinewidth": 1, "capsize": 2.5}
    axes.errorbar(means[along], means["value"], yerr=yerr, **look, transform=moved)


def legend(figure: Figure, axes: Axes, drawn: pd.DataFrame) -> None:
    """Above all panels: the curves of one of them, dots and bars, and the definitions in words."""
    named = [line for line in axes.get_lines() if not str(line.get_label()).startswith("_")]
    if (drawn["curve"] == curves.EACH_CHILD).any():
        dot: dict[str, Any] = {"color": "0.5", "marker": ".", "markersize": 5, "linestyle": "None"}
        named.append(Line2D([], [], **dot, label=curves.EACH_CHILD))
    if drawn["low"].notna().any():
        bar: dict[str, Any] = {"color": "0.3", "marker": "|", "markersize": 9, "linestyle": "None"}
        named.append(Line2D([], [], **bar, label=INTERVAL))
    words = [f"{drawn['split'].iloc[0]}, {pairs.about(drawn)}", *pairs.DEFINITIONS.values()]
    figure.legend(
        handles=named,
        title="\n".join(words),
        loc="outside upper left",
        alignment="left",
        ncols=LEGEND_COLUMNS,
    )
