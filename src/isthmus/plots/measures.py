"""Barriers and distances of pairs: means with intervals or ranges, and what they are of."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import ScaledTranslation, Transform

from isthmus.plots import curves, pairs, rows, style

SORT = ["align", "bn", "split", "metric"]
INTERVALS = [*pairs.PAIR, *SORT, "num_children", "measure", "mean", "low", "high"]
ENDS = ["low", "high", "lowest", "highest"]
COLUMNS = [*pairs.PAIR, *SORT, "num_alphas", "measure", "curve", "seeds", "value", *ENDS]
KEYS = [*pairs.PAIR, *SORT, "num_alphas"]
METRICS = ("loss", "error")
MEANS = {  # what is the mean of which
    curves.EACH_MAIN: curves.MEAN_MAIN,
    curves.EACH_CHILD: curves.MEAN_CHILD,
    curves.ONLY_CHILD: curves.ONLY_CHILD,
}
INTERVAL = "mean, 95 % interval"  # Student's t over their means
RANGE = "mean, lowest to highest"
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
    grid: pairs.Grid | None = None,
) -> pd.DataFrame:
    """Means, and each of what they are of: of main branches where there are several, else children.

    Children of one main branch are not independent, so that of these there is no interval, but the
    range; an older table's intervals, which took them to be, are left out.

    Args:
        intervals: as `interpolate.py` writes it.
        barriers: likewise; each child's own.
        measures: of barrier, barrier_frankle, midpoint_gap, distance, cosine.
        split: train, val or test.
        align: none, weights or activations.
        bn: what became of the batch-norm statistics: reset, average, keep or repair.
        grid: one of `pairs.grids`; None for the first.

    Returns:
        A row a point: `value`, of all children or main branches in `seeds`; from `low` to `high`,
        where the mean of several main branches lies with 95 % confidence; and the range of what it
        is the mean of, from `lowest` to `highest`.

    Raises:
        ValueError: there is nothing to draw, with what there is; a mean has no
            children; or a table is another one.
    """
    rows.check_columns(intervals, INTERVALS)
    rows.check_columns(barriers, [*pairs.PAIR, *SORT, "child_seed", *measures])
    means = select(intervals, split, align, bn, grid).rename(columns={"mean": "value"})
    each = select(barriers, split, align, bn, tuple(means[pairs.GRID].iloc[0]))
    each = each.assign(seeds=[f"{int(seed)}" for seed in each["child_seed"]])
    each = each.melt([*KEYS, "global_seed", "seeds"], measures, "measure")
    each = each.groupby(["k1", "k2"], group_keys=False)[list(each)].apply(group_by_main_branch)
    means = with_seeds(means[means["measure"].isin(measures)], each)
    drawn = pd.concat([each[each["curve"] != curves.ONLY_CHILD].reindex(columns=COLUMNS), means])
    order, ascending = ["metric", "measure", "k1", "k2", "curve"], [False, *4 * [True]]
    return drawn.sort_values(order, ascending=ascending, kind="stable", ignore_index=True)


def group_by_main_branch(pair: pd.DataFrame) -> pd.DataFrame:
    """The points of one pair: of each main branch where there are several, else of each child."""
    if pair["global_seed"].nunique() < 2:
        alone = pair["seeds"].nunique() == 1
        return pair.assign(curve=curves.ONLY_CHILD if alone else curves.EACH_CHILD)
    means = pair.groupby([*KEYS, "measure", "global_seed"], as_index=False)["value"].mean()
    seeds = means["global_seed"].map(lambda seed: f"{int(seed)}")
    return means.assign(curve=curves.EACH_MAIN, seeds=seeds)


def with_seeds(means: pd.DataFrame, each: pd.DataFrame) -> pd.DataFrame:
    """The means with the children or main branches that they are of, and the range of these.

    Raises:
        ValueError: there are none of some mean.
    """
    by = ["k1", "k2", "metric", "measure"]
    of_pairs = each.groupby(by, as_index=False).agg(
        seeds=("seeds", lambda seeds: rows.listed(set(seeds))),
        lowest=("value", "min"),
        highest=("value", "max"),
        curve=("curve", lambda found: MEANS[found.iloc[0]]),
    )
    means = means.drop(columns=["lowest", "highest"], errors="ignore")
    means = means.merge(of_pairs, on=by, how="left")
    lonely = means[means["seeds"].isna()]
    if len(lonely):
        pair = pairs.title(pairs.found(lonely)[0])
        raise ValueError(f"the table of barriers has no child of {pair}, but there is its mean")
    several = means["curve"] == curves.MEAN_MAIN
    means = means.assign(**{end: means[end].where(several) for end in ("low", "high")})
    return means[COLUMNS]


def select(
    table: pd.DataFrame, split: str, align: str, bn: str, grid: pairs.Grid | None = None
) -> pd.DataFrame:
    """The rows of pairs, of one split, one treatment and one grid; by default the first.

    Raises:
        ValueError: there are none; with what there is.
    """
    found = rows.where(pairs.treated(table, align, bn), "split", split)
    found = found[found["k1"].notna()]
    if found.empty:
        raise ValueError("nothing to draw: the table has a line between two files, but no pairs")
    return pairs.select_grid(pairs.fill_columns(found), grid)


def draw_curves(axes: Axes, panel: pd.DataFrame, along: str, by: str, numbers: list[float]) -> None:
    """A curve of one measure for each value of `by`, with bars; what it is the mean of are dots.

    The bars are the interval, and have caps; without one, the range. Curves with bars are moved
    sideways by little, so that these do not hide each other.

    Args:
        axes: of the panel.
        panel: rows of one measure.
        along: the x axis: k1 or k2.
        by: the other one.
        numbers: all values of `by` in the figure, in order.
    """
    apart = min(APART, ROOM / len(numbers)) if has_bars(panel).any() else 0
    for place, (colour, number) in enumerate(
        zip(style.sequential(len(numbers)), numbers, strict=True)
    ):
        points = panel[panel[by] == number].sort_values(along)
        aside = apart * (place - (len(numbers) - 1) / 2) / 72  # inches
        moved = axes.transData + ScaledTranslation(aside, 0, axes.figure.dpi_scale_trans)
        means = curves.main(points)
        each = points.drop(means.index)
        dots: dict[str, Any] = {"alpha": 0.5, "marker": ".", "markersize": 4, "linestyle": "None"}
        axes.plot(each[along], each["value"], color=colour, **dots, transform=moved)
        look: dict[str, Any] = {**pairs.dash(place), "label": f"{by} = {style.epochs(number)}"}
        axes.plot(means[along], means["value"], color=colour, **look, transform=moved)
        draw_bars(axes, means[has_bars(means)], along, colour, moved)
    for column in ("value", *ENDS):  # what is moved sideways does not set limits by itself
        finite = panel[np.isfinite(panel[column])]
        axes.update_datalim(finite[[along, column]].to_numpy())
    axes.margins(x=0.08)


def draw_bars(axes: Axes, means: pd.DataFrame, along: str, colour: Any, moved: Transform) -> None:
    """The intervals of one curve, with caps; where there is none, the ranges."""
    has_interval = means["low"].notna()
    for part, low, high, cap in (
        (means[has_interval], "low", "high", 2.5),
        (means[~has_interval], "lowest", "highest", 0),
    ):
        if part.empty:
            continue
        yerr = [part["value"] - part[low], part[high] - part["value"]]
        look: dict[str, Any] = {"fmt": "none", "ecolor": colour, "elinewidth": 1, "capsize": cap}
        axes.errorbar(part[along], part["value"], yerr=yerr, **look, transform=moved)


def has_bars(drawn: pd.DataFrame) -> pd.Series:
    """Which rows are means of several main branches or children."""
    return drawn["curve"].isin([curves.MEAN_MAIN, curves.MEAN_CHILD])


def legend(figure: Figure, axes: Axes, drawn: pd.DataFrame) -> None:
    """Above all panels: the curves of one of them, dots and bars, and the definitions in words."""
    named = [line for line in axes.get_lines() if not str(line.get_label()).startswith("_")]
    for each in (curves.EACH_MAIN, curves.EACH_CHILD):
        if (drawn["curve"] == each).any():
            look: dict[str, Any] = {"color": "0.5", "marker": ".", "markersize": 5}
            named.append(Line2D([], [], **look, linestyle="None", label=each))
    for mean, words in ((curves.MEAN_MAIN, INTERVAL), (curves.MEAN_CHILD, RANGE)):
        if (drawn["curve"] == mean).any():
            look = {"color": "0.3", "marker": "|", "markersize": 9}
            named.append(Line2D([], [], **look, linestyle="None", label=words))
    heading = [f"{drawn['split'].iloc[0]}, {pairs.about(drawn)}", *pairs.DEFINITIONS.values()]
    figure.legend(
        handles=named,
        title="\n".join(heading),
        loc="outside upper left",
        alignment="left",
        ncols=LEGEND_COLUMNS,
    )
